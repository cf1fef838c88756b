#!/usr/bin/env python3
"""Tests of what the scripts here decide by themselves: figures, tables, verdicts. No proxy is started."""

import json
import math
import os
import tempfile
import unittest
import xml.etree.ElementTree as xml

import generators
import instructions
import load
import plot
import proxies
import report
import scenarios


def rounds(*cpu, failed=0):
    return [
        {"requests": 100, "failed": failed, "rate": 1e6 / us, "p50": 1.0, "p99": 2.0, "p999": 3.0, "cpu": us, "memory": 10.0}
        for us in cpu
    ]


def entry(results):
    return {
        "title": "Sticky keep-alive",
        "says": "What it is.",
        "when": "2026-01-01",
        "commit": "abc",
        "rounds": 3,
        "seconds": 1,
        "machine": {"cpu": "a CPU", "cores": 2, "kernel": "6.0", "placing": "apart"},
        "versions": {"haproxy": "2.6"},
        "results": results,
    }


class Figures(unittest.TestCase):
    def test_a_ratio_is_taken_round_by_round(self):
        # of medians it would be 20 / 20
        results = {"stickfast": rounds(10, 20, 40), "haproxy": rounds(20, 10, 80)}
        self.assertEqual(report.ratio(results, "haproxy", "stickfast", "cpu"), 2.0)

    def test_a_percentile_is_a_latency_that_was_measured(self):
        times = list(range(1, 1001))
        self.assertEqual([generators.percentile(times, share) for share in (50, 99, 99.9)], [500, 990, 999])
        self.assertEqual(generators.percentile([7], 99.9), 7)

    def test_the_result_of_wrk_is_read(self):
        told = generators.wrk_result("x\nRESULT requests=10 us=2000000 failed=1 p50=1500 p99=2500 p999=3000\n")
        self.assertEqual((told["rate"], told["failed"], told["p99"]), (5.0, 1, 2.5))

    def test_failed_requests_of_h2load_are_no_latencies(self):
        with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
            log.write("1\t200\t2000\n2\t-1\t9\n3\t200\t1000\nbroken\n")
            log.flush()
            self.assertEqual(generators.latencies(log.name), [1.0, 2.0])


class Verdicts(unittest.TestCase):
    def test_what_fails_is_wrong_but_for_other_proxies_that_reload(self):
        results = {"stickfast": rounds(1), "haproxy": rounds(1, failed=2)}
        self.assertEqual(list(load.failures("sticky", results)), ["sticky: 2 requests to haproxy failed"])
        self.assertEqual(list(load.failures("reload", results)), [])
        self.assertEqual(len(list(load.failures("reload", {"stickfast, SIGHUP": rounds(1, failed=1)}))), 1)

    def test_targets_that_were_not_measured_are_not_reached(self):
        self.assertEqual(report.target_table({}).count("| 0 | not measured | |"), 2)
        known = {"sticky": entry({"stickfast": rounds(11), "haproxy": rounds(10)})}
        table = report.target_table(known)
        self.assertIn("goal | 1.0× | 1.1× |  | **not yet** |", table)
        self.assertIn("must | 1.2× | 1.1× |  | reached |", table)
        known = {"sticky": entry({"stickfast": rounds(8, 9, 7, 11, 10, 12), "haproxy": rounds(*[10] * 6)})}
        self.assertIn("goal | 1.0× | 0.95× | 0.7 and 1.2 | reached |", report.target_table(known))

    def test_where_a_median_lies_is_told_by_ranks(self):
        # the ranks that tables of the sign test give for 95 %
        for count, low, high in ((6, 1, 6), (9, 2, 8), (15, 4, 12), (99, 40, 60)):
            values = list(range(count, 0, -1))
            self.assertEqual(report.between(values), (low, high), count)
        for count in range(6):
            self.assertIsNone(report.between(list(range(count))))

    def test_instructions_that_grew_by_more_than_three_percent_are_a_regression(self):
        baseline = {"instructions": {"sticky": 10_000}}
        self.assertFalse(instructions.compare({"sticky": 10_299}, baseline)[1])
        self.assertTrue(instructions.compare({"sticky": 10_301}, baseline)[1])
        self.assertFalse(instructions.compare({"sticky": 1}, {})[1])

    def test_ten_thousand_rules_may_cost_five_percent_more_than_ten(self):
        for many, worse in ((10_499, False), (10_501, True)):
            counted = {"rules-10": 10_000, "rules-10000": many}
            self.assertEqual(instructions.compare(counted, {})[1], worse)

    def test_the_committed_baseline_has_every_case(self):
        if not os.path.exists(instructions.BASELINE):
            self.skipTest("there is none yet")
        with open(instructions.BASELINE) as file:
            kept = json.load(file)["instructions"]
        self.assertEqual(sorted(kept), sorted(case.name for case in instructions.CASES))


class Written(unittest.TestCase):
    def test_results_are_a_page_with_a_plot_for_both_themes(self):
        with tempfile.TemporaryDirectory() as out:
            report.write(out, {"sticky": entry({"stickfast": rounds(10, 11), "a<b": rounds(20, 22)})})
            with open(os.path.join(out, "RESULTS.md")) as file:
                page = file.read()
            self.assertIn("| a<b | 21.0 | 2.00 |", page)
            with open(os.path.join(out, "results.svg")) as file:
                drawn = file.read()
            xml.fromstring(drawn)
            self.assertIn("prefers-color-scheme: dark", drawn)
        self.assertTrue(all(name in {s.name for s in scenarios.ALL} for name in plot.PANELS))

    def test_a_proxy_is_not_asked_for_what_it_lacks(self):
        can = {}
        for name in ("sticky", "first", "ring", "reload"):
            scenario = scenarios.named([name])[0]
            needs = proxies.Needs(backends=[], hashed=scenario.hashed)
            binder = proxies.Proxy("a", "", None, lacks=proxies.NOT_IN_GO)
            floor = proxies.Proxy("b", "", None, affinity=False)
            can[name] = binder.can(needs, scenario), floor.can(needs, scenario)
        expected = {"sticky": (True, True), "first": (True, False), "ring": (False, False), "reload": (False, False)}
        self.assertEqual(can, expected)

    def test_who_is_measured_comes_at_each_place_and_behind_each_other_equally_often(self):
        for count in (1, 2, 3, 7, 8):
            turns = [load.in_turn(list(range(count)), turn) for turn in range(2 * count)]
            self.assertEqual({tuple(sorted(turn)) for turn in turns}, {tuple(range(count))})
            for at in range(count):
                self.assertEqual(sorted(turn[at] for turn in turns), sorted(2 * list(range(count))))
            pairs = [pair for turn in turns for pair in zip(turn, turn[1:])]
            self.assertEqual(len(pairs), 2 * len(set(pairs)))

    def test_figures_are_kept_with_the_digits_they_mean(self):
        self.assertEqual(report.rounded({"a": [math.pi, 7]}), {"a": [3.1416, 7]})


if __name__ == "__main__":
    unittest.main()
