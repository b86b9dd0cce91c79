import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Counts how often a client waits for the database while it works: a proxy between the two sees each time that the
 * client speaks after the server has. Setting up a connection counts too. It costs time, so nothing is timed meanwhile.
 */
export async function countRoundTrips(url: string, work: (url: string) => Promise<unknown>): Promise<number> {
  const { hostname, port } = new URL(url);
  let turns = 0;
  const proxy = createServer((client: Socket) => {
    const server = connect(Number(port), hostname);
    let serverSpoke = true;
    client.on('data', () => {
      if (serverSpoke) turns += 1;
      serverSpoke = false;
    });
    server.on('data', () => {
      serverSpoke = true;
    });
    client.on('error', () => server.destroy());
    server.on('error', () => client.destroy());
    client.pipe(server).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  try {
    await work(Object.assign(new URL(url), { port: (proxy.address() as AddressInfo).port }).href);
  } finally {
    proxy.close();
  }
  return turns;
}
