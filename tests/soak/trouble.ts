// What goes wrong around the workers: processes die, sessions are cut, the server restarts, ways fall silent, and LML
// answers so wrongly that the brake must stop a run.
import { setTimeout as sleep } from 'node:timers/promises';
import { GAUGES } from '../model/brake.js';
import type { BreakableServer } from '../support/faults.js';
import type { Backend } from './backend.js';
import type { Fleet, Place } from './fleet.js';
import type { FaultyLml } from './lml.js';
import type { Chance } from './random.js';

interface World {
  places: Place[];
  fleet: Fleet;
  backend: Backend;
  server: BreakableServer;
  lml: FaultyLml;
  leaseMs: number;
}

export class Trouble {
  readonly counts = { restarts: 0, silences: 0, 'longer than a lease': 0, spells: 0 };

  constructor(
    private readonly chance: Chance,
    private readonly world: World,
  ) {}

  /** Kills or stops a process, cuts sessions, or restarts the server. */
  async breakSomething(): Promise<void> {
    const { chance } = this;
    const { fleet, backend, server } = this.world;
    const kind = chance.weighed({ SIGKILL: 9, SIGTERM: 5, cut: 5, fast: 0.6, immediate: 0.6 });
    if (kind === 'cut') return backend.cutSession();
    if (kind === 'fast' || kind === 'immediate') {
      this.counts.restarts++;
      return server.restart(kind);
    }
    fleet.signal(this.place(), kind);
    // Some die while they start, or while they stop.
    if (chance.is(0.2)) fleet.signal(this.place(), 'SIGKILL');
  }

  /** Lets nothing through between somebody and the database, or LML, or both; or lets somebody do nothing. */
  async silenceSomebody(): Promise<void> {
    const { chance } = this;
    const { places, fleet, leaseMs } = this.world;
    this.counts.silences++;
    const place = this.place();
    const { database, lml } = places[place]!;
    const ways = chance.of([[database], [lml], [database, lml], []]);
    if (ways.length > 0 && chance.is(0.3)) {
      // For good, on the lines that are there.
      for (const way of ways) way.lose();
      return;
    }
    const isLong = chance.is(0.2);
    const forMs = isLong ? chance.between(leaseMs / 2, 2 * leaseMs) : chance.between(300, leaseMs / 3);
    if (forMs > leaseMs) this.counts['longer than a lease']++;
    // An answer that no other session can take within half a lease may be asked for again.
    const isExcused = isLong && (ways.length === 0 || ways.includes(database));
    if (isExcused) fleet.excuse(place, forMs, leaseMs);
    for (const way of ways) way.silence();
    await (ways.length === 0 ? fleet.pause(place, forMs) : sleep(forMs));
    for (const way of ways) way.restore();
  }

  /** Has LML answer for a while as no healthy LML does. */
  async turnLml(until: number): Promise<void> {
    const { chance } = this;
    const { lml } = this.world;
    this.counts.spells++;
    lml.spell = chance.of(GAUGES);
    await sleep(Math.min(chance.between(15_000, 30_000), Math.max(0, until - Date.now())));
    lml.spell = null;
  }

  private place(): number {
    return this.chance.between(0, this.world.places.length - 1);
  }
}
