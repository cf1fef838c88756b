// Sticky journeys: browsers with a cookie jar each that read, wait and come back. Every answer of a
// journey has to come from the backend of its first one.
//
// Run by loadtest/k6.py (`make load-k6`), which starts gateway and backends: URL, DURATION (seconds), VUS.

import http from "k6/http";
import { check, sleep } from "k6";
import { Counter } from "k6/metrics";

const moves = new Counter("moves");
const unbound = new Counter("unbound");

export const options = {
  scenarios: {
    browsers: {
      executor: "constant-vus",
      vus: Number(__ENV.VUS || 20),
      duration: `${__ENV.DURATION || 5}s`,
      gracefulStop: "5s",
    },
  },
  thresholds: {
    moves: ["count==0"],
    unbound: ["count==0"],
    checks: ["rate==1"],
    http_req_failed: ["rate==0"],
    http_req_duration: [`p(99)<${__ENV.P99_MS || 2000}`],
  },
};

const backendOf = (answer) => String(answer.body).split(" ")[0];

export default function () {
  // an iteration is a person: k6 empties the jar before each
  const first = http.get(`${__ENV.URL}/`);
  check(first, { "the first answer is 200": (answer) => answer.status === 200 });
  if (!first.cookies.srv) unbound.add(1);
  const home = backendOf(first);
  for (const page of ["/catalogue", "/cart", "/cart/1", "/checkout"]) {
    // what a page loads, over several connections at once
    const answers = http.batch([
      ["GET", `${__ENV.URL}${page}`],
      ["GET", `${__ENV.URL}${page}/style.css`],
      ["POST", `${__ENV.URL}${page}/seen`, "what the client tells"],
    ]);
    for (const answer of answers) {
      check(answer, { "a page is 200": () => answer.status === 200 });
      if (backendOf(answer) !== home) moves.add(1);
    }
    sleep(0.05);
  }
}
