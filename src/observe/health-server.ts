// Health over HTTP: /healthz says whether the work gets done, /readyz whether it could be, /metrics what was counted, and
// where it is wanted / is the page.
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Finding, Probes } from './probes.js';

export interface HealthServer {
  port: number;
  close(): Promise<void>;
}

// The port is open to all who reach it: clients that ask slowly, or not at all, must leave sockets for the work.
const SLOWEST_MS = 5000;
const MOST_CLIENTS = 100;

/** Serves the probes on a port, or on any free one for 0. A probe never throws, so every request gets a whole answer. */
export async function startHealthServer(port: number, probes: Probes): Promise<HealthServer> {
  const patience = {
    headersTimeout: SLOWEST_MS,
    requestTimeout: SLOWEST_MS,
    connectionsCheckingInterval: 1000,
  };
  const server = createServer(patience, async (request, response) => {
    const { status, contentType, body, ...headers } = await answer(request, probes);
    response
      .writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store', ...headers })
      .end(body);
  });
  server.maxConnections = MOST_CLIENTS;
  server.listen(port);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, probes: Probes) {
  if (request.method !== 'GET') return { ...said(405, { ok: false, reason: 'GET only' }), allow: 'GET' };
  switch (request.url?.split('?', 1)[0]) {
    case '/healthz':
      return found(await probes.health());
    case '/readyz':
      return found(await probes.readiness());
    case '/metrics': {
      const { contentType, text } = await probes.metrics();
      return { status: 200, contentType, body: text };
    }
    case '/': {
      const page = await probes.page();
      if (page === null) return notFound;
      const { POLICY } = await import('../screens/page/style.js');
      return {
        status: page.ok ? 200 : 503,
        contentType: `text/${page.ok ? 'html' : 'plain'}; charset=utf-8`,
        body: page.text,
        'content-security-policy': `${POLICY}; frame-ancestors 'none'`,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      };
    }
    default:
      return notFound;
  }
}

const found = (finding: Finding) => said(finding.ok ? 200 : 503, finding);

const said = (status: number, finding: Finding) => ({
  status,
  contentType: 'application/json',
  body: `${JSON.stringify(finding)}\n`,
});

const notFound = said(404, { ok: false, reason: 'there are /healthz, /readyz and /metrics' });
