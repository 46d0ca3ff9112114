// Makes a child process end with its parent, even when the parent is killed without a chance to say so.

/** Longer than a drain; after it, staying would mean an orphan. */
const LAST_RESORT_MS = 15_000;

/**
 * Started with an IPC channel, a process asks itself to stop when the channel closes: the kernel closes it however the
 * parent died. Without a channel (started by a person or a supervisor) nothing happens.
 */
export function followParent(): void {
  if (process.send === undefined) return;
  process.once('disconnect', () => {
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.exit(1), LAST_RESORT_MS).unref();
  });
  // The channel must not keep a process alive that is otherwise finished.
  process.channel?.unref();
}
