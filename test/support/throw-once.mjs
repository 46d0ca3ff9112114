// To be loaded before a program (--import): after SIGWINCH, which nobody else listens to, the next callback of the kind that THROW_IN names throws, once.

import { Server, Socket } from 'node:net';

const where = process.env.THROW_IN ?? '';
let isArmed = false;
process.on('SIGWINCH', () => {
  isArmed = true;
});

function throwOnce() {
  if (!isArmed) return;
  isArmed = false;
  throw new Error(`planted in ${where}`);
}

const [owner, name] = where.split('.');
if (owner === 'socket' || owner === 'server') {
  const { prototype } = owner === 'socket' ? Socket : Server;
  const { emit } = prototype;
  prototype.emit = function (event, ...args) {
    if (event === name) throwOnce();
    return emit.call(this, event, ...args);
  };
} else if (where === 'write') {
  const { write } = Socket.prototype;
  Socket.prototype.write = function (...args) {
    throwOnce();
    return write.apply(this, args);
  };
} else {
  const original = globalThis[where];
  globalThis[where] = (run, ...args) =>
    original(
      (...given) => {
        throwOnce();
        return run(...given);
      },
      ...args,
    );
}
