// The ways of a worker to the database and to LML, which can fall silent: for a while, after which what was sent still
// arrives, or for good. They see for which answers a worker waits.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What passes on a connection, as its near end sees it. */
export interface Watch {
  sends(connection: object): void;
  gets(connection: object, bytes: Buffer): void;
  closes(connection: object): void;
}

interface Connection {
  near: Socket;
  /** What waits until the way is open again, in its order. */
  held: (() => void)[];
  isLost: boolean;
}

export class Way {
  private readonly connections = new Set<Connection>();
  private isSilent = false;

  private constructor(
    readonly url: string,
    private readonly server: ReturnType<typeof createServer>,
  ) {}

  /** Opens a way to a server. */
  static async open(target: string, watch?: Watch): Promise<Way> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const own = String((server.address() as AddressInfo).port);
    const way = new Way(Object.assign(new URL(target), { hostname: '127.0.0.1', port: own }).href, server);
    server.on('connection', (near) => way.join(near, Number(port), hostname, watch));
    return way;
  }

  private join(near: Socket, port: number, host: string, watch?: Watch): void {
    const connection: Connection = { near, held: [], isLost: false };
    const far = connect(port, host);
    this.connections.add(connection);
    const pass = (deliver: () => void) => {
      if (connection.isLost) return;
      if (this.isSilent) connection.held.push(deliver);
      else deliver();
    };
    near
      .on('error', () => {})
      .on('data', (bytes) => {
        watch?.sends(connection);
        pass(() => void far.write(bytes));
      });
    far
      .on('error', () => {})
      .on('data', (bytes) => {
        pass(() => {
          watch?.gets(connection, bytes);
          near.write(bytes);
        });
      });
    near.on('close', () => {
      watch?.closes(connection);
      // What was sent before the end still arrives.
      pass(() => void far.end());
      if (connection.isLost) this.drop(connection, far);
    });
    far.on('close', () => {
      pass(() => near.destroy());
      if (near.destroyed) this.drop(connection, far);
    });
  }

  private drop(connection: Connection, far: Socket): void {
    far.destroy();
    this.connections.delete(connection);
  }

  /** Nothing comes through any more; what is sent waits. */
  silence(): void {
    this.isSilent = true;
  }

  /** What waits arrives, in its order. */
  restore(): void {
    this.isSilent = false;
    for (const { held } of this.connections) for (const deliver of held.splice(0)) deliver();
  }

  /** What is sent on the connections that are there is lost from now on, though they stay. */
  lose(): void {
    for (const connection of this.connections) connection.isLost = true;
  }

  async close(): Promise<void> {
    this.server.close();
    for (const { near } of this.connections) near.destroy();
  }
}

/** Counts the calls for which some worker waits, and keeps what was in flight where they were too many. */
export class Flight implements Watch {
  most = 0;
  readonly complaints: string[] = [];
  /** What is still to come of the answer: null while its head is not whole. */
  private readonly waiting = new Map<object, { head: string; left: number | null }>();

  constructor(private readonly allowed: number) {}

  sends(connection: object): void {
    if (this.waiting.has(connection)) return;
    this.waiting.set(connection, { head: '', left: null });
    this.most = Math.max(this.most, this.waiting.size);
    if (this.waiting.size > this.allowed) this.lookAgain(new Map(this.waiting));
  }

  /** What ended at the same moment may be heard a little later. */
  private lookAgain(then: Map<object, object>): void {
    setTimeout(() => {
      const still = [...then].filter(([connection, call]) => this.waiting.get(connection) === call);
      if (still.length <= this.allowed) return;
      this.complaints.push(`${still.length} calls in flight, of ${this.allowed} that are allowed`);
    }, 5);
  }

  gets(connection: object, bytes: Buffer): void {
    const call = this.waiting.get(connection);
    if (!call) return;
    let length = bytes.length;
    if (call.left === null) {
      call.head += bytes.toString('latin1');
      const end = call.head.indexOf('\r\n\r\n');
      if (end < 0) return;
      length = call.head.length - end - 4;
      call.left = Number(/content-length: (\d+)/i.exec(call.head)![1]);
    }
    call.left -= length;
    if (call.left <= 0) this.waiting.delete(connection);
  }

  closes(connection: object): void {
    this.waiting.delete(connection);
  }
}
