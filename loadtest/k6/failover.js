// Failover: while browsers come and go, one of three backends dies (loadtest/k6.py kills it). Its clients
// move once, and stay where they went; nobody else moves, and only requests that the dying backend had
// taken already may fail.
//
// From the environment: URL, DURATION (seconds), VUS.

import http from "k6/http";
import { sleep } from "k6";
import { Counter, Rate } from "k6/metrics";

const wandering = new Counter("wandering"); // moved more than once
const needless = new Counter("needless"); // moved away from a backend that lives
const moved = new Counter("moved"); // whose backend died
const failed = new Rate("failed");

export const options = {
  // one journey lasts the whole run, so that the backend dies in the middle of it
  scenarios: {
    browsers: { executor: "per-vu-iterations", vus: Number(__ENV.VUS || 20), iterations: 1, maxDuration: "10m" },
  },
  thresholds: {
    // none would mean that nothing was tried
    moved: ["count>0"],
    wandering: ["count==0"],
    needless: ["count==0"],
    failed: [`rate<${__ENV.FAILED || 0.01}`],
  },
};

const backendOf = (answer) => String(answer.body).split(" ")[0];

export default function () {
  const end = Date.now() + Number(__ENV.DURATION || 5) * 1000;
  let home = null;
  let moves = 0;
  while (Date.now() < end) {
    const answer = http.get(`${__ENV.URL}/`);
    failed.add(answer.status !== 200);
    if (answer.status === 200) {
      const backend = backendOf(answer);
      if (home !== null && backend !== home) {
        moves += 1;
        moved.add(1);
        if (home !== __ENV.DYING) needless.add(1);
        if (moves > 1) wandering.add(1);
      }
      home = backend;
    }
    sleep(0.02);
  }
}
