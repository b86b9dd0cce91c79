// Alerts to a webhook: each run that ended badly and each hold that began, once over all processes.
import type { Sql } from '../database/connect.js';
import { log } from './log.js';

// A webhook that hangs must not keep a process from its end.
const SEND_MS = 5000;

export interface Alerts {
  /** Looks for alerts and sends them. Never throws, and nothing has to wait for it. */
  send(sql: Sql): Promise<void>;
}

/** Without a URL nothing is asked and nothing sent. The URL is a secret, so that a failure is named by its code alone. */
export function createAlerts(webhookUrl: string | undefined): Alerts {
  if (webhookUrl === undefined) return { send: async () => {} };
  let underWay: Promise<void> | null = null;

  async function sendAll(sql: Sql): Promise<void> {
    try {
      const alerts = await sql<{ alert: { alert: string } }[]>`
        select alert from identity_sync.take_identity_alerts() as alert`;
      await Promise.all(alerts.map(({ alert }) => post(alert)));
    } catch (error) {
      log.warn({ step: 'alert', code: codeOf(error) }, 'the database could not be asked for alerts');
    }
  }

  async function post(alert: { alert: string }): Promise<void> {
    const line = { step: 'alert', alert: alert.alert };
    try {
      const { status, ok, body } = await fetch(webhookUrl!, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(alert),
        redirect: 'manual',
        signal: AbortSignal.timeout(SEND_MS),
      });
      // What a receiver says besides is not read: one that never ends it would keep the process.
      body?.cancel().catch(() => {});
      if (ok) log.info(line, `an alert was sent: ${alert.alert}`);
      else log.warn({ ...line, status }, `an alert was not taken by the webhook (${status})`);
    } catch (error) {
      const code = codeOf(error);
      log.warn({ ...line, code }, `an alert could not be sent to the webhook (${code})`);
    }
  }

  return {
    send(sql) {
      underWay ??= sendAll(sql).finally(() => {
        underWay = null;
      });
      return underWay;
    },
  };
}

function codeOf(error: unknown): string {
  const { name, code, cause } = error as { name?: string; code?: unknown; cause?: { code?: unknown } };
  return String(cause?.code ?? (typeof code === 'string' ? code : name));
}
