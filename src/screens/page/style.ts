// The page's only style sheet. It stands in the page, and the policy names it by its hash, so that no other is taken.
import { createHash } from 'node:crypto';

export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1c2126; --soft: #59636e; --line: #dcdfe3;
  --good: #0a7a4b; --bad: #b3261e; --bad-card: #fdeeec; --link: #0b5cad; --mark: #ffd6d1;
  --c0: #0b6bb8; --c1: #d97706; --c2: #5b8c5a; --c3: #a23b72; --c4: #8a8f98; --c5: #b9a44c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1d2125; --ink: #e7eaed; --soft: #a3adb8; --line: #363c43;
    --good: #55c993; --bad: #ff8a80; --bad-card: #35201f; --link: #7db8f5; --mark: #6e2722;
    --c0: #5aa9ea; --c1: #f0a445; --c2: #86bd85; --c3: #dc7fb1; --c4: #8d949d; --c5: #d6c474;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 88rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .4rem; }
p { margin: .3rem 0; }
figure { margin: 0; }
a { color: var(--link); }
code, pre, .id { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
code { background: var(--line); border-radius: 3px; padding: .05em .3em; }
.soft { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem; min-width: 0; }
.needs { background: var(--bad-card); border-color: var(--bad); margin: .8rem 0; }
.calm { border-color: var(--good); margin: .8rem 0; }
.needs h3 { color: var(--bad); }
.calm h3 { color: var(--good); margin: 0; }
.cures { margin: .2rem 0 0; padding: 0; list-style: none; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.figures { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10.5rem), 1fr)); }
.figures .card { padding: .6rem .8rem; }
.figure { font-size: 1.4rem; font-weight: 600; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; max-width: 34rem; }
svg text { fill: var(--soft); font-size: 11px; }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg .grid { stroke: var(--line); stroke-width: 1; stroke-dasharray: 2 3; }
svg .whole { fill: var(--line); }
svg .label { fill: var(--ink); }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); }
.f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s0, .s1 { fill: none; stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; margin: 0 0 .4rem; padding: 0; list-style: none;
  font-size: .85rem; color: var(--soft); }
.legend svg { display: inline-block; width: .75em; height: .75em; margin-right: .35em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: .85rem; }
.number { text-align: right; }
.bad { color: var(--bad); } .good { color: var(--good); }
pre { margin: .5rem 0 0; padding: .6rem; max-height: 24rem; overflow: auto; white-space: pre-wrap;
  background: var(--paper); border: 1px solid var(--line); border-radius: 6px; }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: .1em .2em; outline: 1px solid var(--bad); }
details { margin: .5rem 0; } summary { cursor: pointer; }
.change { padding: .5rem 0; border-top: 1px solid var(--line); }
.was { text-decoration: line-through; text-decoration-color: var(--soft); }
footer { margin: 2rem 0 0; color: var(--soft); font-size: .85rem; }
@media (max-width: 640px) {
  .wide thead { display: none; }
  .wide tr { display: flex; flex-wrap: wrap; gap: 0 .8rem; padding: .4rem 0; border-top: 1px solid var(--line); }
  .wide td { border: 0; padding: 0; text-align: left; }
  .wide td[data-of]::before { content: attr(data-of) " "; color: var(--soft); font-size: .85rem; }
}
`;

const hash = createHash('sha256').update(STYLE).digest('base64');

/** Nothing but this style sheet: no script, no picture, no request to anywhere. */
export const POLICY = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
