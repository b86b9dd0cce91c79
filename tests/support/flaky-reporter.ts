// Names the tests that passed at their second try, since one that passes now and then proves less than it seems to.
import type { Reporter, TestCase } from 'vitest/node';

export default class FlakyReporter implements Reporter {
  #lines: string[] = [];

  onTestCaseResult(test: TestCase): void {
    if (!test.diagnostic()?.flaky) return;
    const [error] = test.result().errors ?? [];
    const place = `${test.project.name} ${test.module.relativeModuleId} > ${test.fullName}`;
    this.#lines.push(`flaky: ${place}\n  failed at first: ${error?.stack ?? error?.message}`);
  }

  onTestRunEnd(): void {
    for (const line of this.#lines) console.log(line);
  }
}
