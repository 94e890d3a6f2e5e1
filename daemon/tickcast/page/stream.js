// The stream of documents: server-sent events, read with fetch, which unlike EventSource tells why it was refused.

const SILENCE_MS_MAX = 5000; // a document comes twice a second
const RETRY_MS = [500, 1000, 2000, 4000];

export class Stream {
  // `take(document)` for each document, `lose(reason)` whenever there is none to be had for now.
  constructor(take, lose) {
    this.take = take;
    this.lose = lose;
    this.turn = 0; // of the newest `open`; what an older one still does is of no interest
    this.controller = null;
  }

  // Read documents from now on, until `close`; `query()` says which, anew each time the daemon is asked.
  open(query) {
    this.close();
    this.keepReading(query, this.turn);
  }

  close() {
    this.turn += 1;
    this.controller?.abort();
  }

  async keepReading(query, turn) {
    for (let failures = 0; turn === this.turn; failures += 1) {
      let reason = "the stream has ended";
      try {
        await this.read(query(), turn, () => (failures = 0));
      } catch (error) {
        reason = error.refused ?? "the daemon cannot be reached";
      }
      if (turn !== this.turn) return;
      this.lose(reason);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
    }
  }

  async read(query, turn, came) {
    const controller = (this.controller = new AbortController());
    let watchdog = setTimeout(() => controller.abort(), SILENCE_MS_MAX);
    try {
      const answer = await fetch(`stream?${query}`, { cache: "no-store", signal: controller.signal });
      if (!answer.ok) throw Object.assign(new Error("refused"), { refused: await reasonOf(answer) });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let held = ""; ; ) {
        const { done, value } = await reader.read();
        if (done || turn !== this.turn) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => controller.abort(), SILENCE_MS_MAX);
        const events = (held + value).split("\n\n");
        held = events.pop();
        const data = events.at(-1)?.match(/^data: (.*)$/m)?.[1]; // the newest is enough
        if (data) {
          came();
          this.take(JSON.parse(data));
        }
      }
    } finally {
      clearTimeout(watchdog);
      controller.abort();
    }
  }
}

async function reasonOf(answer) {
  try {
    return (await answer.json()).error ?? `answer ${answer.status}`;
  } catch {
    return `answer ${answer.status}`;
  }
}
