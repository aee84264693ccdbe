# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what scripts/soak draws, part of lab/selftest: no lab, no root."""

import inspect
import itertools
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "tests"))

import soak_acts  # noqa: E402
import soak_plan  # noqa: E402


class Soak(unittest.TestCase):
    """What scripts/soak does next is its seed's alone."""

    def drawn(self, seed, guests=soak_plan.GUESTS, count=2000, **choice):
        return list(itertools.islice(soak_plan.steps(
            seed, soak_plan.guests_of(guests), soak_plan.chosen(**choice)), count))

    def test_a_seed_is_a_list(self):
        self.assertEqual(self.drawn(7), self.drawn(7))
        self.assertNotEqual(self.drawn(7), self.drawn(8))

    def test_all_come_as_often_as_they_weigh(self):
        steps = self.drawn(1, count=20000)
        whole = sum(action.weight for action in soak_plan.ACTIONS)
        for action in soak_plan.ACTIONS:
            share = sum(step.action == action.name for step in steps) / len(steps)
            self.assertAlmostEqual(share, action.weight / whole, delta=0.01, msg=action.name)

    def test_arguments_are_in_their_ranges(self):
        values = {action.name: action.values for action in soak_plan.ACTIONS}
        for step in self.drawn(3):
            for key, value in step.arguments.items():
                allowed = values[step.action][key]
                self.assertTrue(allowed[0] <= value <= allowed[1] if isinstance(allowed, tuple)
                                else value in allowed, step)

    def test_each_guest_gets_what_is_for_it(self):
        steps = self.drawn(5)
        self.assertEqual({step.guest for step in steps if step.action == "net-queues"}, {"g1", "g2", "g3"})
        self.assertEqual({step.guest for step in steps if step.action == "life-vcpus"}, {"g1", "g3"})
        self.assertEqual({step.guest for step in steps if step.action.startswith("lock-")}, {"g1"})
        self.assertFalse([step for step in self.drawn(5, ["pvh-6.1"]) if step.action.startswith("lock-")])

    def test_filters(self):
        names = {step.action for step in self.drawn(5, only=["net-", "life-save"], without=["net-file"])}
        self.assertEqual(names, {name for name in soak_plan.NAMES if name.startswith("net-") and
                                 name != "net-file"} | {"life-save"})

    def test_every_action_can_be_taken(self):
        self.assertEqual(list(soak_acts.ACTS), soak_plan.NAMES)
        for step in self.drawn(9):
            inspect.signature(soak_acts.ACTS[step.action]).bind("subject", step.seed, **step.arguments)

    def test_bad_values(self):
        for guests, choice, says in ((["pv-5.0"], {}, ("'pv-5.0'", "6.12")), (["pv-6.1x1"], {}, ("2 to 8",)),
                                     (["pv-6.1"] * 5, {}, ("5 guests", "1 to 4")), (["pv"], {}, ("'pv'",)),
                                     (["pv-6.1"], {"only": ["foo"]}, ("'foo'", "net-queues")),
                                     (["pv-6.1"], {"only": ["net-"], "without": ["net"]}, ("no action is left",)),
                                     (["pvh-6.1"], {"only": ["lock-"]}, ("for any of these guests",))):
            with self.assertRaises(soak_plan.BadInput) as caught:
                self.drawn(1, guests, 1, **choice)
            for text in says:
                self.assertIn(text, str(caught.exception))

    def test_the_command(self):
        program = os.path.join(os.path.dirname(HERE), "scripts/soak")
        wanted = ["# seed 7", *(f"{number} {step}" for number, step in enumerate(self.drawn(7), 1))]
        for mixed in ("1", "2"):  # in another process, too, whose sets and dictionaries are in another order
            done = subprocess.run([program, "--seed", "7", "--draw", "2000"], capture_output=True, text=True,
                                  check=True, env={**os.environ, "PYTHONHASHSEED": mixed})
            self.assertEqual(done.stdout.splitlines(), wanted)
        for wrong in (["--minutes", "0"], ["--seed", "x"], ["--guests", "pv-5.0"], ["--only", "foo"]):
            done = subprocess.run([program, *wrong], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn(wrong[1], done.stderr.splitlines()[-1])
