#!/usr/bin/env bash
# Unpacks the regression tests that Debian's haproxy source package ships (reg-tests/*.vtc) into .haproxy-reg-tests/
# (git-ignored: they are HAProxy's and GPL, so they are read, never copied into this repository). The source index is read
# through a private apt state made of the machine's own sources, so nothing on the machine changes. Needs apt-get, xz.
# Prints the folder; exits 1 when the archive cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
target="$PWD/.haproxy-reg-tests"
if [ -d "$target/reg-tests" ]; then echo "$target/reg-tests"; exit 0; fi
command -v apt-get >/dev/null || { echo "install-reg-tests: apt-get not found" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/source"
# The machine's binary sources, read as source suites.
for file in /etc/apt/sources.list.d/*.sources; do
  if [ -f "$file" ]; then sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"; fi
done
if [ -f /etc/apt/sources.list ]; then sed -nE 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/sources.list"; else : >"$work/sources.list"; fi
state=(-o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts"
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
for try in 1 2 3; do
  if apt-get -qq "${state[@]}" update >&2; then break; fi
  [ "$try" -lt 3 ] || { echo "install-reg-tests: could not read the source index" >&2; exit 1; }
  sleep $((try * 2))
done
# A security suite's index may name sources that its pool no longer has, so every version on offer is tried.
cd "$work/source"
versions=$(apt-cache "${state[@]}" showsrc --only-source haproxy | sed -nE 's/^Version: //p' | sort -rVu)
for version in $versions; do
  if apt-get -qq "${state[@]}" source --download-only "haproxy=$version" >&2; then break; fi
done
compgen -G 'haproxy_*.orig.tar.*' >/dev/null || { echo "install-reg-tests: could not download the haproxy source package" >&2; exit 1; }
mkdir -p "$target.new"
tar -xf haproxy_*.orig.tar.*[xg]z -C "$target.new" --strip-components=1 --wildcards '*/reg-tests'
rm -rf "$target" && mv "$target.new" "$target"
echo "$target/reg-tests"
