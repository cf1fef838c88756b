// Reload and upgrade: while browsers come and go at a fixed rate, the gateway reads its configuration anew
// and hands over to a new process (loadtest/k6.py asks for both, over and over). Nothing may fail and
// nobody may move.
//
// From the environment: URL, DURATION (seconds), RATE (journeys a second).

import http from "k6/http";
import { Counter } from "k6/metrics";

const moves = new Counter("moves");
const lost = new Counter("lost");

export const options = {
  scenarios: {
    arrivals: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 20),
      timeUnit: "1s",
      duration: `${__ENV.DURATION || 5}s`,
      preAllocatedVUs: 50,
      maxVUs: 200,
      gracefulStop: "5s",
    },
  },
  thresholds: {
    moves: ["count==0"],
    lost: ["count==0"],
    http_reqs: ["count>0"],
  },
};

const backendOf = (answer) => String(answer.body).split(" ")[0];

export default function () {
  let home = null;
  for (let visit = 0; visit < 5; visit += 1) {
    const answer = http.get(`${__ENV.URL}/visit/${visit}`);
    if (answer.status !== 200) {
      lost.add(1);
      continue;
    }
    const backend = backendOf(answer);
    if (home !== null && backend !== home) moves.add(1);
    home = backend;
  }
}
