#!/usr/bin/env bash
# Unpacks Consul 1.8.7 from Debian's bullseye archive into .consul/ (git-ignored), for the conformance and integration
# tests. The suite is read through a private apt state beside the machine's own sources, so nothing on the machine changes.
# Prints the path of the binary; exits 1 when the archive cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
target="$PWD/.consul"
binary="$target/usr/bin/consul"
if [ -x "$binary" ]; then echo "$binary"; exit 0; fi
command -v apt-get >/dev/null || { echo "install-consul: apt-get not found; put a consul binary on PATH instead" >&2; exit 1; }

mirror=$(grep -hoE '^(URIs:|deb) +https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
  grep -oE 'https?://[^ ]+' | head -1 || true)
[ -n "$mirror" ] || { echo "install-consul: no Debian mirror found in the machine's apt sources" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror bullseye main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
for try in 1 2 3; do
  if "${apt[@]}" update >&2 && (cd "$work" && "${apt[@]}" download consul >&2); then break; fi
  [ "$try" -lt 3 ] || { echo "install-consul: could not download consul from the bullseye suite" >&2; exit 1; }
  sleep $((try * 2))
done
mkdir -p "$target"
dpkg -x "$work"/consul_*.deb "$target"
"$binary" version >&2
echo "$binary"
