// A self-signed certificate for 127.0.0.1, as openssl makes it.

import { execFileSync } from 'node:child_process';

export interface KeyPair {
  readonly certFile: string;
  readonly keyFile: string;
}

/** @param name  the common name, and that of the files */
export function makePair(folder: string, name: string): KeyPair {
  const [certFile, keyFile] = [`${folder}/${name}.pem`, `${folder}/${name}.key`];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', keyFile, '-out', certFile, ...subject], {
    stdio: 'ignore',
  });
  return { certFile, keyFile };
}
