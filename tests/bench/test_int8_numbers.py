"""What the int8 measurement does with numbers: the distributions it draws, the figures of accuracy on vectors whose answer is
known, what counts as an answer, and the codes of a cache. Needs numpy."""
import unittest

import paths  # noqa: F401

import numpy

import accuracy
import distributions
import problem
import sage_attention

LINE = "b1.hq4.hkv2.sq256.skv512.d64.f32"


def drawn(data, line=LINE, seed=5):
    return problem.inputs(problem.parse(f"{line}:data={data}"), seed)


class Distributions(unittest.TestCase):
    def test_R21_the_same_from_the_same_seed_and_finite(self):
        for data in problem.DATA:
            for a, b, other in zip(drawn(data), drawn(data), drawn(data, seed=6)):
                self.assertEqual(a.dtype, numpy.float32)
                self.assertTrue(numpy.array_equal(a, b) and numpy.isfinite(a).all())
                self.assertFalse(numpy.array_equal(a, other))

    def test_plain_data_are_what_they_were(self):
        rng = numpy.random.default_rng(5)
        for made, shape in zip(drawn("normal"), ((1, 4, 256, 64), (1, 2, 512, 64), (1, 2, 512, 64))):
            self.assertTrue(numpy.array_equal(made, rng.standard_normal(shape, dtype=numpy.float32)))

    def test_R21_kbias(self):
        (q, k, v), (q0, k0, v0) = drawn("kbias"), drawn("normal")
        self.assertTrue(numpy.allclose((k - k0)[..., [3, 17, 40, 59]], [12, -12, 9, -15], atol=1e-4))
        self.assertTrue(numpy.allclose(q[..., 40], 1.5 * q0[..., 40]))
        rest = numpy.setdiff1d(numpy.arange(64), [3, 17, 40, 59])
        self.assertTrue(numpy.array_equal(k[..., rest], k0[..., rest]) and numpy.array_equal(q[..., rest], q0[..., rest]) and numpy.array_equal(v, v0))
        self.assertEqual(distributions.biased_channels(128), [6, 34, 80, 118])
        self.assertEqual(distributions.biased_channels(32), [1, 8, 20, 29])

    def test_R21_sink(self):
        (q, k, v), (_, _, v0) = drawn("sink"), drawn("normal")
        logits = q.astype(float) @ numpy.repeat(k, 2, axis=1).transpose(0, 1, 3, 2).astype(float) / 8
        self.assertTrue((abs(logits[..., 0].mean(axis=-1) - 8) < 1.2).all())
        self.assertTrue((abs(logits[..., 1:].mean()) < 0.5))
        self.assertTrue(numpy.allclose(v[:, :, 0], 0.05 * v0[:, :, 0]) and numpy.array_equal(v[:, :, 1:], v0[:, :, 1:]))

    def test_R21_vspread(self):
        (q, k, v), (q0, k0, _) = drawn("vspread"), drawn("normal")
        size, mean = v.std(axis=2), v.mean(axis=2)
        self.assertGreater(size.max() / size.min(), 50)
        self.assertLess(abs(numpy.log(size).std() - 1.2), 0.3)
        self.assertLess(abs((mean / size).std() - 2), 0.5)
        self.assertTrue(numpy.array_equal(q, q0) and numpy.array_equal(k, k0))

    def test_R21_all_together_and_one_token_in_a_hundred_three_times_as_large(self):
        line = "b1.hq1.hkv1.sq2048.skv4096.d64.f32"
        (_, k, _), (_, biased, _) = drawn("all", line), drawn("kbias", line)
        times = k[0, 0, 1:, 5] / biased[0, 0, 1:, 5]
        self.assertTrue((numpy.isclose(times, 1) | numpy.isclose(times, 3)).all())
        self.assertTrue(15 < numpy.isclose(times, 3).sum() < 80)
        self.assertTrue(numpy.array_equal(k[0, 0, 1:, 3], biased[0, 0, 1:, 3]))  # biased channels are not

    def test_what_it_cannot_draw_is_refused(self):
        with self.assertRaisesRegex(ValueError, "d of 4 or more"):
            drawn("kbias", "b1.hq1.hkv1.sq4.skv4.d3.f32")
        with self.assertRaisesRegex(ValueError, "normal|kbias"):
            distributions.apply("wild", 1, *drawn("normal"))


class Figures(unittest.TestCase):
    def test_R21_on_vectors_whose_answer_is_known(self):
        found = accuracy.figures(numpy.array([3.0, 0, 0, 4]), numpy.array([3.0, 0, 0, -4]))
        self.assertAlmostEqual(found["cosine"], (9 - 16) / 25)
        self.assertAlmostEqual(found["rel_l1"], 8 / 7)
        self.assertAlmostEqual(found["rmse"], 4)
        self.assertEqual(found["max_abs"], 8)
        same = accuracy.figures(numpy.array([1.0, 2]), numpy.array([1.0, 2]))
        self.assertAlmostEqual(same["cosine"], 1)
        self.assertEqual((same["rel_l1"], same["rmse"], same["max_abs"]), (0, 0, 0))
        self.assertAlmostEqual(accuracy.figures(numpy.array([2.0, 4]), numpy.array([1.0, 2]))["cosine"], 1)  # a cosine sees no size
        self.assertEqual(accuracy.figures(numpy.zeros(2), numpy.array([1.0, 2]))["cosine"], 0)

    def judge(self, name, change):
        p = problem.parse(LINE)
        rows = problem.rows_to_check(p)
        expected = problem.oracle(p, *problem.inputs(p, 5), rows)
        got = numpy.zeros((1, 4, 256, 64), numpy.float32)
        got[:, :, rows] = expected
        return accuracy.judge(name, p, change(got), expected, rows)

    def test_only_an_answer_to_the_problem_is_right(self):
        noise = numpy.random.default_rng(1).standard_normal((1, 4, 256, 64)).astype(numpy.float32)
        self.assertEqual(self.judge("fp32", lambda o: o)["check"], "ok")
        self.assertEqual(self.judge("full", lambda o: o + 1e-4 * noise)["check"], "ok")
        self.assertIn("cosine", self.judge("fp32", lambda o: o + 1e-3 * noise)["check"])
        self.assertIn("cosine", self.judge("full", lambda o: noise)["check"])
        self.assertIn("cosine", self.judge("full", lambda o: o * 0)["check"])
        self.assertIn("not finite", self.judge("full", lambda o: o * numpy.nan)["check"])
        self.assertIn("shape", self.judge("full", lambda o: o[:, :, :5])["check"])

    def test_a_peer_that_answers_as_floats_do_was_not_in_8_bits(self):
        self.assertIn("was not computed in 8 bits", self.judge("openvino", lambda o: o)["check"])

    def test_the_worst_head_is_told(self):
        def one_head(o):
            o = o.copy()
            o[:, 2] += 0.01
            return o
        found = self.judge("full", one_head)["accuracy"]
        self.assertLess(found["worst_head"]["cosine"], found["cosine"])
        self.assertGreater(found["worst_head"]["rel_l1"], 3 * found["rel_l1"])


class Codes(unittest.TestCase):
    def test_R6_a_token_of_a_cache_comes_back_within_half_a_step_and_zeros_as_zeros(self):
        x = numpy.random.default_rng(3).standard_normal((1, 2, 9, 16)).astype(numpy.float32)
        x[0, 1, 4] = 0
        codes, scale = sage_attention.coded(x)
        self.assertEqual((codes.dtype, codes.shape, scale.shape), (numpy.int8, x.shape, (1, 2, 9)))
        self.assertTrue((scale > 0).all() and codes.min() >= -127)
        self.assertTrue((abs(codes * scale[..., None] - x) <= 0.5001 * scale[..., None]).all())
        self.assertFalse(codes[0, 1, 4].any())


unittest.main()
