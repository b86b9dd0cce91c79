import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ajv } from 'ajv';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  type Answer,
  type ArtistIdentity,
  type Input,
  identityVerdict,
  inMood,
  loadCompilations,
  loadIdentities,
  type Mood,
  type Result,
  realMix,
  type StandIn,
  type StandInOptions,
  startStandIn,
} from '../../src/demo/stand-in.js';

const PATH = '/api/v1/identity/bulk-resolve-libraries';

const METHODS = ['manual', 'cross_source_agreement', 'exact_match', 'name_variation', 'member_group'].concat([
  'alias_match',
  'trigram',
  'llm',
]);
const BANDS: Record<string, [number, number]> = {
  exact_match: [1, 1],
  name_variation: [0.9, 0.99],
  member_group: [0.8, 0.89],
  alias_match: [0.75, 0.84],
  trigram: [0.7, 1],
  llm: [0.6, 0.79],
};

// The wire contract, with what the real producer adds to it: an unset field is null, never missing.
const nullable = (type: string) => ({ type: [type, 'null'] });
const closed = (properties: Record<string, object>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const confidence = { type: ['number', 'null'], minimum: 0, maximum: 1 };

const provenance = {
  ...closed({
    source: { enum: ['discogs', 'musicbrainz', 'wikidata', 'spotify', 'apple_music', 'bandcamp'] },
    method: { enum: METHODS },
    confidence,
    external_id: nullable('string'),
  }),
  oneOf: [
    { properties: { confidence: { type: 'null' }, external_id: { type: 'null' } } },
    { properties: { confidence: { type: 'number' }, external_id: { type: 'string' } } },
  ],
};

const main = closed({
  discogs_artist_id: nullable('integer'),
  musicbrainz_artist_id: nullable('string'),
  wikidata_qid: nullable('string'),
  spotify_artist_id: nullable('string'),
  apple_music_artist_id: nullable('string'),
  bandcamp_id: nullable('string'),
});

const nothing = { main: { type: 'null' }, method: { type: 'null' }, confidence: { type: 'null' } };
const noProvenance = { provenance: { maxItems: 0 } };

const track = {
  ...closed({
    track_position: nullable('string'),
    artist_name: { type: 'string', pattern: '\\S' },
    track_title: nullable('string'),
    resolved_artist_name: nullable('string'),
    confidence,
    method: { enum: [...METHODS, null] },
    sources: { type: 'array', items: provenance },
  }),
  oneOf: [
    {
      properties: {
        resolved_artist_name: { type: 'string' },
        confidence: { type: 'number' },
        method: { type: 'string' },
        sources: { minItems: 1 },
      },
    },
    {
      properties: {
        resolved_artist_name: { type: 'null' },
        confidence: { type: 'null' },
        method: { type: 'null' },
        sources: { maxItems: 0 },
      },
    },
  ],
};

const result = {
  ...closed({
    kind: { enum: ['single_artist', 'compilation', 'unresolved'] },
    library_id: { type: 'integer' },
    main: { anyOf: [main, { type: 'null' }] },
    method: { enum: [...METHODS, null] },
    confidence,
    provenance: { type: 'array', items: provenance },
    tracks_attempted: nullable('boolean'),
    tracks: { type: ['array', 'null'], items: track },
  }),
  oneOf: [
    {
      properties: {
        kind: { const: 'single_artist' },
        main,
        method: { type: 'string' },
        confidence: { type: 'number' },
        provenance: { minItems: 1 },
        tracks: { maxItems: 0 },
      },
    },
    { properties: { kind: { const: 'compilation' }, ...nothing, ...noProvenance } },
    {
      properties: {
        kind: { const: 'unresolved' },
        ...nothing,
        ...noProvenance,
        tracks_attempted: { type: 'null' },
        tracks: { type: 'null' },
      },
    },
  ],
};

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true, strictTypes: false });
const answerSchema = ajv.compile(
  closed({
    results: { type: 'array', items: result },
    cache_stats: { type: 'null' },
    tracks_contract_version: { enum: [1, null] },
  }),
);
const errorSchema = ajv.compile({
  type: 'object',
  properties: { message: { type: 'string', minLength: 1 }, code: { type: 'string' }, details: {} },
  required: ['message'],
  additionalProperties: false,
});

const identities = loadIdentities();
const known = 'A Tribe Called Quest';

const input = (library_id: number, artist_name = known): Input => ({
  library_id,
  artist_name,
  album_title: 'A title',
  legacy_release_id: library_id + 1,
});
const inputs = (count: number) => Array.from({ length: count }, (_, index) => input(index + 1));
const asking = (...asked: unknown[]) => JSON.stringify({ inputs: asked, include_tracks: true });

let lml: StandIn;
const start = async (options: Partial<StandInOptions> = {}) => {
  lml = await startStandIn({ identities, ...options });
};
afterEach(() => lml?.close());

const post = (body: string | Buffer, headers: Record<string, string> = {}, path = PATH) =>
  fetch(lml.url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  });

const results = async (body: string): Promise<Result[]> => {
  const response = await post(body);
  expect(response.status).toBe(200);
  return ((await response.json()) as { results: Result[] }).results;
};

const refused = async (response: Response, status: number) => {
  expect(response.status).toBe(status);
  const body = await response.json();
  expect(errorSchema(body), JSON.stringify(errorSchema.errors)).toBe(true);
  return body as { message: string; details?: unknown };
};

describe('an answer', () => {
  it('keeps to the wire contract for every artist of the data', async () => {
    await start();
    const names = [
      ...identities.keys(),
      'Nobody Has Heard Of',
      'Various Artists - Rock - B',
      'Soundtracks - S',
    ];
    for (let from = 0; from < names.length; from += 500) {
      const asked = names.slice(from, from + 500).map((name, index) => input(from + index, name));
      const response = await post(asking(...asked));
      const body = await response.json();
      expect(answerSchema(body), JSON.stringify(answerSchema.errors?.slice(0, 5))).toBe(true);
    }
  });

  it('has one result per input in the order asked, also where an id is asked twice', async () => {
    await start();
    const ids = [900, 3, 77, 3, 12];
    const answered = await results(asking(...ids.map((id) => input(id))));
    expect(answered.map((one) => one.library_id)).toEqual(ids);
  });

  it('is the same for the same artist, on the wire and from the pure function', async () => {
    await start();
    const asked = [...identities.keys()].slice(0, 200).map((name, index) => input(index, name));
    const expected = asked.map((one) => identityVerdict(one, identities, true));
    expect(await results(asking(...asked))).toEqual(expected);
    expect(await results(asking(...asked))).toEqual(expected);
  });

  it('carries no version of the tracks contract unless it is set', async () => {
    await start();
    expect(await (await post(asking(input(1)))).json()).toMatchObject({ tracks_contract_version: null });
    await lml.close();
    await start({ tracksContractVersion: 1 });
    expect(await (await post(asking(input(1)))).json()).toMatchObject({ tracks_contract_version: 1 });
  });

  it('says "not yet visited" where tracks are asked for, and nothing where not, or where unresolved', async () => {
    await start();
    const asked = [input(1), input(2, 'various'), input(3, 'Nobody Has Heard Of')];
    const pairs = (answered: Result[]) => answered.map((one) => [one.tracks_attempted, one.tracks]);
    const visited = [false, []];
    const unasked = [null, null];
    expect(pairs(await results(asking(...asked)))).toEqual([visited, visited, unasked]);
    const without = JSON.stringify({ inputs: asked, include_tracks: false });
    expect(pairs(await results(without))).toEqual([unasked, unasked, unasked]);
    expect(pairs(await results(JSON.stringify({ inputs: asked })))).toEqual([unasked, unasked, unasked]);
  });

  describe('about a compilation that it knows', () => {
    const compilations = loadCompilations();
    const killahKuts = { ...input(1, 'Various Artists'), album_title: 'The Killah Kuts' };

    it('names the artists of each track as Discogs credits them', async () => {
      await start({ compilations, tracksContractVersion: 1 });
      const [one] = await results(asking(killahKuts));
      expect(one).toMatchObject({ kind: 'compilation', tracks_attempted: true });
      expect(
        one!.tracks!.map((entry) => [entry.track_position, entry.artist_name, entry.track_title]),
      ).toEqual([
        ['A1', 'Usher', "You Don't Have To Call (Clean Remix)"],
        ['A1', 'Ludacris', "You Don't Have To Call (Clean Remix)"],
        ['A2', 'Usher', "You Don't Have To Call (Dirty Remix)"],
        ['A2', 'Ludacris', "You Don't Have To Call (Dirty Remix)"],
        ['A3', 'Usher', "You Don't Have To Call (Remix)"],
        ['A3', `Royce Da 5'9"`, "You Don't Have To Call (Remix)"],
        ['B1', 'Usher', "You Don't Have To Call (Remix)"],
        ['B1', 'Sacario', "You Don't Have To Call (Remix)"],
        ['B2', 'Usher', 'You Got It Bad (Main Mix)'],
      ]);
    });

    it('finds most of them, under a name without the number by which Discogs distinguishes namesakes', async () => {
      await start({ compilations, tracksContractVersion: 1 });
      const asked = [...compilations.keys()].map((album_title, id) => ({
        ...input(id + 1, 'Various Artists'),
        album_title,
      }));
      const tracks = (await results(asking(...asked))).flatMap((one) => one.tracks ?? []);
      const missed = tracks.filter((one) => one.resolved_artist_name === null);
      expect(tracks.length).toBeGreaterThan(900);
      expect(missed.length / tracks.length).toBeGreaterThan(0.03);
      expect(missed.length / tracks.length).toBeLessThan(0.2);
      expect(tracks.filter((one) => /\(\d+\)$/.test(one.artist_name)).length).toBeGreaterThan(50);
      expect(tracks.filter((one) => /\(\d+\)$/.test(one.resolved_artist_name ?? ''))).toEqual([]);
    });

    it.each<[string, Partial<StandInOptions>, object, unknown]>([
      ['without a version', {}, killahKuts, [false, []]],
      [
        'of another title',
        { tracksContractVersion: 1 },
        { ...killahKuts, album_title: 'Unheard' },
        [false, []],
      ],
      ['under one name', { tracksContractVersion: 1 }, { ...killahKuts, artist_name: known }, [false, []]],
    ])('says "not yet visited" %s', async (_when, options, asked, pair) => {
      await start({ compilations, ...options });
      const [one] = await results(asking(asked));
      expect([one!.tracks_attempted, one!.tracks]).toEqual(pair);
    });
  });
});

describe('a verdict', () => {
  const verdict = (name: string) => identityVerdict(input(1, name), identities);
  const verdicts = [...identities.keys()].map(verdict);
  const legs = verdicts.flatMap((one) => one.provenance.filter((leg) => leg.external_id !== null));

  it.each([
    'various',
    'VARIOUS',
    'Soundtrack',
    'compilation',
    'Various Artists',
    'Various Artists - Rock - B',
  ])('is a compilation for %j', (name) => expect(verdict(name).kind).toBe('compilation'));
  it.each(['V/A', 'v.a.', 'v/a - Blues', 'Soundtracks - S', 'Soundtracks: M'])(
    'is a compilation for %j',
    (name) => expect(verdict(name).kind).toBe('compilation'),
  );
  it.each([
    ...['The 27 Various', 'Epic Soundtracks', 'Once - Soundtrack', 'Various Production', 'various '],
    ...['Soundtrack of Our Lives', 'Various Artistses', 'V/Arious', 'v.a2', 'Soundtracksé', 'Compilations'],
  ])('is no compilation for the look-alike %j', (name) => expect(verdict(name).kind).not.toBe('compilation'));

  it('knows an artist by the exact name only', () => {
    expect(verdict(known).kind).toBe('single_artist');
    expect(verdict(known.toLowerCase()).kind).toBe('unresolved');
    expect(verdict(`${known} `).kind).toBe('unresolved');
  });

  it('is unresolved where the store has the artist but no id', () => {
    const { artist_name, ...ids } = identities.get(known)!;
    const empty = Object.fromEntries(Object.keys(ids).map((column) => [column, null]));
    const store = new Map([[artist_name, { artist_name, ...empty } as unknown as ArtistIdentity]]);
    expect(identityVerdict(input(1), store)).toMatchObject({ kind: 'unresolved', provenance: [] });
  });

  it('names the ids of the data and no others, Discogs as an integer in main and as text in provenance', () => {
    for (const [name, stored] of identities) {
      const { main, provenance } = verdict(name);
      const { artist_name, ...ids } = stored;
      expect(main).toEqual(ids);
      const named = provenance.map((leg) => leg.external_id).filter((id) => id !== null);
      expect(named).toEqual(Object.values(ids).flatMap((id) => (id === null ? [] : String(id))));
    }
  });

  it('with two legs or more is cross_source_agreement at 0.95 or above, with one is that leg', () => {
    for (const { method, confidence, provenance } of verdicts) {
      const found = provenance.filter((leg) => leg.external_id !== null);
      if (found.length > 1) {
        expect(method).toBe('cross_source_agreement');
        expect(confidence).toBeGreaterThanOrEqual(0.95);
      } else {
        expect({ method, confidence }).toEqual({
          method: found[0]!.method,
          confidence: found[0]!.confidence,
        });
      }
    }
  });

  it('keeps every leg in its band but the inherited, which are labelled exact, and none below 0.70', () => {
    const outside = legs.filter(({ method, confidence }) => {
      const [low, high] = BANDS[method]!;
      return confidence! < low - 0.00001 || confidence! > high + 0.00001;
    });
    expect(new Set(outside.map((leg) => leg.method))).toEqual(new Set(['exact_match']));
    expect(outside.length / legs.length).toBeGreaterThan(0.01);
    expect(outside.length / legs.length).toBeLessThan(0.05);
    expect(Math.min(...legs.map((leg) => leg.confidence!))).toBeGreaterThan(0.69999);
    expect(new Set(legs.map((leg) => leg.method))).toEqual(new Set(Object.keys(BANDS)));
  });

  it('shows confidences as float4 does', () => {
    expect(legs.every((leg) => Math.fround(leg.confidence!) === leg.confidence)).toBe(true);
    expect(legs.some((leg) => Math.abs(leg.confidence! - 0.8999999762) < 1e-10)).toBe(true);
  });

  it('names now and then a source that found nothing', () => {
    const fruitless = verdicts.filter((one) => one.provenance.some((leg) => leg.external_id === null));
    expect(fruitless.length / verdicts.length).toBeGreaterThan(0.01);
    expect(fruitless.length / verdicts.length).toBeLessThan(0.1);
  });
});

describe('the checks', () => {
  it('know one path and one verb', async () => {
    await start({ apiKey: 'secret' });
    await refused(await post(asking(input(1)), {}, '/api/v1/identity/bulk'), 404);
    await refused(await post(asking(input(1)), {}, `/${PATH}`), 404);
    const got = await fetch(lml.url + PATH);
    expect(got.headers.get('allow')).toBe('POST');
    await refused(got, 405);
  });

  it('ask for a key where one is configured: none 401, a wrong or malformed one 403', async () => {
    await start({ apiKey: 'secret' });
    await refused(await post(asking(input(1))), 401);
    await refused(await post(asking(input(1)), { authorization: 'Bearer wrong' }), 403);
    await refused(await post(asking(input(1)), { authorization: 'secret' }), 403);
    expect((await post(asking(input(1)), { authorization: 'Bearer secret' })).status).toBe(200);
  });

  it('ask for no key where none is configured', async () => {
    await start();
    expect((await post(asking(input(1)), { authorization: 'Bearer anything' })).status).toBe(200);
  });

  it.each(['{"inputs": [', '', '{"inputs": "\xff"}'])('refuse what is no JSON with 400: %j', async (body) => {
    await start();
    await refused(await post(Buffer.from(body, 'latin1')), 400);
  });

  it.each(['[]', 'null', '"text"', '7'])('refuse JSON that is no object with 400: %s', async (body) => {
    await start();
    await refused(await post(body), 400);
  });

  it('take 1,000 inputs and refuse 1,001 with 413', async () => {
    await start();
    expect(await results(asking(...inputs(1000)))).toHaveLength(1000);
    await refused(await post(asking(...inputs(1001))), 413);
  });

  const without = (field: keyof Input) => ({ ...input(2), [field]: undefined });
  it.each<[string, unknown]>([
    ['a null name', { ...input(2), artist_name: null }],
    ['an empty name', input(2, '')],
    ['a blank name', input(2, ' \t')],
    ['a missing name', without('artist_name')],
    ['a name that is no text', { ...input(2), artist_name: 5 }],
    ['a missing title', without('album_title')],
    ['a null title', { ...input(2), album_title: null }],
    ['a missing id', without('library_id')],
    ['an id that is text', { ...input(2), library_id: '2' }],
    ['an id with a fraction', { ...input(2), library_id: 2.5 }],
    ['a legacy id that is text', { ...input(2), legacy_release_id: '3' }],
    ['an input that is no object', 2],
  ])('refuse the whole batch with 422 for %s, and say where', async (_, bad) => {
    await start();
    const body = await refused(await post(asking(input(1), bad, input(3))), 422);
    expect(body.details).toEqual([expect.objectContaining({ path: expect.arrayContaining(['inputs', 1]) })]);
  });

  it.each<[string, unknown]>([
    ['missing inputs', {}],
    ['empty inputs', { inputs: [] }],
    ['inputs that are no array', { inputs: { 0: input(1) } }],
    ['a flag that is no boolean', { inputs: [input(1)], include_tracks: 'yes' }],
  ])('refuse %s with 422', async (_, body) => {
    await start();
    await refused(await post(JSON.stringify(body)), 422);
  });

  it('accept an empty title, and a legacy id that is null or missing', async () => {
    await start();
    const asked = [
      { ...input(1), album_title: '' },
      { ...input(2), legacy_release_id: null },
    ];
    expect(await results(asking(...asked, without('legacy_release_id')))).toHaveLength(3);
  });

  it('come in order: key, JSON, cap, validation, database', async () => {
    await start({ apiKey: 'secret' });
    const key = { authorization: 'Bearer secret' };
    const poison = input(1, 'a\0b');
    const tooMany = inputs(1001).map((one) => ({ ...one, artist_name: null }));
    await refused(await post('no JSON'), 401);
    await refused(await post('no JSON', key), 400);
    await refused(await post(asking(...tooMany), key), 413);
    await refused(await post(asking(poison, input(2, '')), key), 422);
    await refused(await post(asking(poison), key), 503);
  });
});

describe('a poison input', () => {
  it.each(['a\\u0000b', '\\ud800', 'x\\udc00y'])(
    'of name "%s" fails its whole batch with 503, every time',
    async (name) => {
      await start();
      const body = asking(input(1), input(2, 'poison'), input(3)).replace('poison', name);
      await refused(await post(body), 503);
      await refused(await post(body), 503);
      expect((await post(asking(input(1), input(3)))).status).toBe(200);
    },
  );

  it('is none where the characters are fine, or in a title, or behind the name of a compilation', async () => {
    await start();
    const asked = [
      input(1, '😀 Sigur Rós'),
      { ...input(2), album_title: '\0' },
      input(3, 'Various Artists\0'),
    ];
    expect(await results(asking(...asked))).toHaveLength(3);
  });

  it('of a stored id that is no number fails its whole batch with 500 in plain text', async () => {
    const broken = { ...identities.get(known)!, artist_name: 'Broken', discogs_artist_id: 'n/a' };
    await start({ identities: new Map([...identities, ['Broken', broken]]) });
    const response = await post(asking(input(1), input(2, 'Broken')));
    expect(response.status).toBe(500);
    expect(response.headers.get('content-type')).toBe('text/plain');
    expect(await response.text()).toBe('Internal Server Error');
  });
});

describe('a fault', () => {
  it('may be any status, header and body; a status alone comes with the usual words', async () => {
    await start();
    lml.respondWith(() => ({ status: 502, headers: { 'content-type': 'text/html' }, body: '<html>' }));
    const html = await post(asking(input(1)));
    expect([html.status, html.headers.get('content-type'), await html.text()]).toEqual([
      502,
      'text/html',
      '<html>',
    ]);

    lml.respondWith(() => ({ status: 429, headers: { 'retry-after': '7' } }));
    const busy = await post(asking(input(1)));
    expect(busy.headers.get('retry-after')).toBe('7');
    await refused(busy, 429);

    lml.respondWith(null);
    expect((await post(asking(input(1)))).status).toBe(200);
  });

  it('may depend on the inputs and the number of the call, and change the default body', async () => {
    await start({
      answer: ({ index, inputs: asked, defaultBody }) =>
        index === 0
          ? undefined
          : { body: defaultBody().replace(`"library_id":${asked[0]!.library_id}`, '"library_id":999') },
    });
    expect((await results(asking(input(5))))[0]!.library_id).toBe(5);
    expect((await results(asking(input(5))))[0]!.library_id).toBe(999);
  });

  it('may cut the connection in the middle of the body', async () => {
    await start({ answer: () => ({ destroy: true }) });
    const response = await post(asking(...inputs(50)));
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow('terminated');
  });

  it('may send the headers and then nothing', async () => {
    await start({ answer: () => ({ stall: true }) });
    const response = await post(asking(input(1)));
    expect(response.status).toBe(200);
    const reader = response.body!.getReader();
    expect(await Promise.race([reader.read(), sleep(50, 'silence')])).toBe('silence');
    await reader.cancel();
  });

  it('may drip the body, which arrives whole', async () => {
    const started = Date.now();
    await start({ answer: () => ({ drip: { bytes: 100, everyMs: 10 } }) });
    const [one] = await results(asking(input(1)));
    expect(one).toEqual(identityVerdict(input(1), identities, true));
    expect(Date.now() - started).toBeGreaterThan(50);
  });

  it.each<Partial<StandInOptions>>([
    { latencyMs: 80 },
    { latencyMs: 60_000, answer: () => ({ delayMs: 80 }) },
  ])('may come late, by the latency of all answers or by a delay of its own: %j', async (options) => {
    await start(options);
    const started = Date.now();
    expect(await results(asking(input(1)))).toHaveLength(1);
    expect(Date.now() - started).toBeGreaterThanOrEqual(75);
  });

  it('never comes before the refusals of LML itself', async () => {
    await start({ answer: () => ({ status: 500 }) });
    await refused(await post(asking(input(1, ''))), 422);
  });
});

describe('the log', () => {
  it('reports of each call its ids, status and headers, and of each id how often it was asked', async () => {
    await start({ apiKey: 'secret' });
    const key = { authorization: 'Bearer secret' };
    await post(asking(input(1), input(2)), key);
    await post(asking(input(2), input(3, '')), key);
    await post(asking(input(9)));
    expect(lml.calls.map(({ ids, status }) => [ids, status])).toEqual([
      [[1, 2], 200],
      [[2, 3], 422],
      [[], 401],
    ]);
    expect(lml.calls[0]!.headers).toMatchObject(key);
    expect(lml.askedIds()).toEqual(
      new Map([
        [1, 1],
        [2, 2],
        [3, 1],
      ]),
    );
  });

  it('counts the calls in flight and the connections', async () => {
    let open = () => {};
    const threeCame = new Promise<void>((resolve) => {
      open = resolve;
    });
    const answer: Answer = async ({ index }) => {
      if (index === 2) open();
      await threeCame;
      return undefined;
    };
    await start({ answer });
    await Promise.all([1, 2, 3].map(async (id) => (await post(asking(input(id)))).text()));
    await post(asking(input(4)));
    expect(lml.maxInFlight).toBe(3);
    expect(lml.calls.map((call) => call.inFlight)).toEqual([1, 2, 3, 1]);
    expect(lml.connections).toBeGreaterThanOrEqual(3);
  });

  it('never counts a call whose answer has arrived as still in flight', async () => {
    await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const body = asking(...inputs(500));
    for (let call = 0; call < 20; call += 1) {
      await new Promise<void>((arrived, failed) => {
        request(lml.url + PATH, { method: 'POST', agent: call % 2 ? agent : false }, async (response) => {
          await text(response);
          arrived();
        })
          .on('error', failed)
          .end(body);
      });
    }
    agent.destroy();
    expect(lml.maxInFlight).toBe(1);
  });

  it('keeps no status for a call that its client gave up, which is no longer in flight', async () => {
    await start({ latencyMs: 60_000 });
    const client = new AbortController();
    const given = fetch(lml.url + PATH, { method: 'POST', body: asking(input(1)), signal: client.signal });
    await vi.waitFor(() => expect(lml.askedIds().size).toBe(1));
    client.abort();
    await expect(given).rejects.toThrow();

    lml.respondWith(() => ({ delayMs: 0 }));
    await vi.waitFor(async () => {
      await post(asking(input(2)));
      expect(lml.calls.at(-1)).toMatchObject({ status: 200, inFlight: 1 });
    });
    expect(lml.calls[0]!.status).toBeNull();
  });
});

describe('LML in a mood', () => {
  const AUTECHRE = 'Autechre';
  const VARIOUS = 'Various Artists - Rock - B';

  /** What the stand-in says of one row in this mood. */
  const says = (mood: Mood | null, artist_name: string) =>
    inMood(
      mood,
      identityVerdict(
        { library_id: 7, artist_name, album_title: 'Untitled' },
        loadIdentities(),
        true,
        loadCompilations(),
      ),
    );

  it('resolves nothing while it is overloaded, but knows a compilation by its name', () => {
    expect(says('overloaded', AUTECHRE)).toEqual(says(null, 'Zzyzx Unheard'));
    expect(says('overloaded', VARIOUS)).toEqual(says(null, VARIOUS));
  });

  it('names the next id of every source while its ids are shifted', () => {
    const [well, shifted] = [says(null, AUTECHRE), says('shifted', AUTECHRE)];
    expect(shifted.main!.discogs_artist_id).toBe(well.main!.discogs_artist_id! + 1);
    expect(shifted.provenance.map((entry) => entry.external_id)).not.toContain(
      well.provenance[0]!.external_id,
    );
    expect(says('shifted', VARIOUS)).toEqual(says(null, VARIOUS));
  });

  it('calls every verdict by a new name, or says that it has visited no track', () => {
    expect(says('new_kind', AUTECHRE)).toEqual({ ...says(null, AUTECHRE), kind: 'ensemble' });
    const release = [...loadCompilations().values()][0]!;
    const input = { library_id: 7, artist_name: 'Various', album_title: release.album_title };
    const read = identityVerdict(input, loadIdentities(), true, loadCompilations());
    expect(read.tracks_attempted).toBe(true);
    expect(inMood('store_down', read)).toEqual({ ...read, tracks_attempted: false, tracks: [] });
  });

  it('turns while it is asked', async () => {
    await start({ mood: 'overloaded' });
    const kind = async () => {
      const response = await post(asking(input(1)));
      return ((await response.json()) as { results: Result[] }).results[0]!.kind;
    };
    expect(await kind()).toBe('unresolved');
    lml.turn(null);
    expect(await kind()).toBe('single_artist');
  });

  it('plays what anybody asks it to, from outside, until it is asked for something else', async () => {
    await start({ mood: 'overloaded' });
    const play = async (what: string) =>
      (await fetch(`${lml.url}/stand-in${what}`, { method: 'POST' })).status;
    const answer = async () => {
      const response = await post(asking(input(1)));
      return ((await response.json()) as { results: Result[] }).results[0]!;
    };
    expect(await play('?source=deezer&mood=shifted')).toBe(200);
    expect((await answer()).provenance.map((leg) => leg.source)).toContain('deezer');
    expect(await play('?mix=real&latency=1')).toBe(200);
    expect((await answer()).kind).toBe('unresolved');
    expect(await play('?mood=tired')).toBe(400);
    expect(await play('?colour=red')).toBe(400);
    expect(await play('')).toBe(200);
    expect((await answer()).kind).toBe('unresolved');
    expect(lml.calls).toHaveLength(3);
  });

  it('knows whole shelves or none in the real mix, and an artist by one id', () => {
    const mix = realMix(loadIdentities());
    expect(mix.get(AUTECHRE)?.artist_name ?? null).toBe(mix.get('Aural Exciters') ? AUTECHRE : null);
    const known = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
      .split('')
      .flatMap((first) => [...'aeiouhlrst'].map((second) => `${first}${second} Unheard`));
    const share = known.filter((name) => mix.get(name)).length / known.length;
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.57);
    const name = known.find((one) => mix.get(one))!;
    expect(mix.get(name)).toEqual(mix.get(name));
  });
});
