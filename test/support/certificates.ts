// Certificates that openssl makes for tests.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';

/** A self-signed pair for 127.0.0.1 whose time was January of 2020. */
export function writeExpiredPair(folder: string): { readonly certFile: string; readonly keyFile: string } {
  const [certFile, keyFile] = [`${folder}/expired.pem`, `${folder}/expired.key`];
  const authority = `${folder}/authority`;
  mkdirSync(authority);
  writeFileSync(`${authority}/index.txt`, '');
  writeFileSync(`${authority}/serial`, '01\n');
  writeFileSync(
    `${authority}/ca.cnf`,
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${authority}/index.txt\nserial = ${authority}/serial\nnew_certs_dir = ${authority}
default_md = sha256\npolicy = any\nx509_extensions = names\n[any]\ncommonName = supplied\n[names]\nsubjectAltName = IP:127.0.0.1\n`,
  );
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-new', ...kind, '-keyout', keyFile, '-out', `${authority}/request.pem`, '-subj', '/CN=expired');
  const time = ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z'];
  const own = ['-batch', '-selfsign', '-config', `${authority}/ca.cnf`, '-keyfile', keyFile];
  openssl('ca', ...own, ...time, '-in', `${authority}/request.pem`, '-out', certFile, '-notext');
  return { certFile, keyFile };
}
