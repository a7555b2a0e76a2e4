#!/usr/bin/env python3
"""Fits the polynomials and rationals of src/scalar/ops/{transcendental,inverse,wide}.ts and prints their coefficient tables.

Needs numpy and mpmath:  python scripts/fit-polynomials.py

Each fit is minimax: least squares on Chebyshev nodes whose weights are multiplied by the error of the last round (Lawson's
algorithm), which levels the extrema; a rational is linearised by the denominator of the last round. What is levelled is
the error relative to the function, so that it can be read in ulp (one ulp is between 2^-24 and 2^-23 of a value).
Coefficients are rounded to f32 one by one, from the lowest power up, and those not yet rounded are fitted again. For f64 the
equations are solved in 60 digits, and the coefficients rounded as they are.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def nodes(a, b, n=1200):
    """Chebyshev nodes of [a, b]; an even number, so that the middle is none of them."""
    return (a + b) / 2 - (b - a) / 2 * np.cos(np.pi * (2 * np.arange(n) + 1) / (2 * n))


def fit(function, a, b, top, bottom=(), fixed=lambda x: 0 * x):
    """Coefficients c, d with function(x) ≈ (fixed(x) + Σ c_k x^k) / (1 + Σ d_k x^k), k over `top` and `bottom`; and the error left."""
    x = nodes(a, b)
    scale = max(abs(a), abs(b))
    f = np.array([float(function(mp.mpf(v))) for v in x])
    columns = {("top", k): (x / scale) ** k for k in top} | {("bottom", k): -f * (x / scale) ** k for k in bottom}
    known = {}
    denominator = np.ones_like(x)
    best = None

    def levelled(rounds):
        nonlocal denominator, best
        lawson = np.ones_like(x)
        best = (np.inf, None)
        free = [k for k in columns if k not in known]
        right = f - fixed(x) - sum((v * columns[k] for k, v in known.items()), 0 * x)
        for _ in range(rounds):
            w = np.sqrt(lawson) / np.abs(f * denominator)
            solved = np.linalg.lstsq(np.stack([columns[k] for k in free], 1) * w[:, None], right * w, rcond=None)[0]
            all_values = known | dict(zip(free, solved))
            residual = f - fixed(x) - sum(v * columns[k] for k, v in all_values.items())
            denominator = 1 - sum((v * columns[k] / f for k, v in all_values.items() if k[0] == "bottom"), 0 * x)
            error = np.abs(residual / (denominator * f))
            if error.max() < best[0]:
                best = (error.max(), all_values)
            lawson = lawson * (error / error.max() + 1e-3)
            lawson /= lawson.mean()

    levelled(400)
    ideal = best[0]
    for name in sorted(columns, key=lambda c: c[1]):
        power = scale ** name[1]
        known[name] = float(np.float32(best[1][name] / power)) * power
        if len(known) < len(columns):
            levelled(80)
    residual = f - fixed(x) - sum(v * columns[k] for k, v in known.items())
    denominator = 1 - sum((v * columns[k] / f for k, v in known.items() if k[0] == "bottom"), 0 * x)
    worst = np.abs(residual / (denominator * f)).max()
    of = lambda side, powers: [known[(side, k)] / scale**k for k in powers]
    return of("top", top), of("bottom", bottom), ideal, worst


def fit_scaled_erfc(a, b, shift, degree, n=160, rounds=20):
    """Coefficients c with e^(x²)·erfc(x) ≈ Σ c_k t^k for t = 1 / (x + shift), x in [a, b], and the error of erfc left."""
    with mp.workdps(60):
        [low, high] = [1 / (mp.mpf(b) + shift), 1 / (mp.mpf(a) + shift)]
        t = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
        x = [1 / v - shift for v in t]
        weight = [mp.exp(-v * v) for v in x]
        rows = mp.matrix([[w * v**k for k in range(degree + 1)] for v, w in zip(t, weight)])
        right = mp.matrix([mp.erfc(v) for v in x])
        lawson, best = [mp.mpf(1)] * n, (mp.inf, None)
        for _ in range(rounds):
            scaled = mp.matrix([[mp.sqrt(l) * rows[i, k] for k in range(degree + 1)] for i, l in enumerate(lawson)])
            solved = mp.lu_solve(scaled.T * scaled, scaled.T * mp.matrix([mp.sqrt(l) * r for l, r in zip(lawson, right)]))
            error = [abs(e) for e in rows * solved - right]
            if max(error) < best[0]:
                best = (max(error), solved)
            lawson = [l * (e / max(error) + mp.mpf("1e-3")) for l, e in zip(lawson, error)]
            lawson = [l * n / sum(lawson) for l in lawson]
        return [float(v) for v in best[1]], float(best[0])


def table(name, result):
    """Prints one table, highest power first, as Horner's scheme takes it."""
    top, bottom, ideal, worst = result
    text = lambda c: ", ".join(repr(float(np.float32(v))) for v in c[::-1])
    print(f"{name}: relative error {worst:.2e} = {worst * 2**24:.2f} · 2^-24 (before rounding {ideal * 2**24:.2f})")
    print(f"  [{text(top)}]")
    if bottom:
        print(f"  [{text([1, *bottom])}]")


def parts(name, value, bits):
    """Splits a constant into f32 parts of few bits each, whose products with small integers are exact, and one full part."""
    rest, out = mp.mpf(value), []
    for b in bits:
        unit = mp.mpf(2) ** (mp.floor(mp.log(abs(rest), 2)) - b + 1)
        out.append(float(mp.nint(rest / unit) * unit))
        rest -= mp.mpf(out[-1])
    out.append(float(np.float32(float(rest))))
    print(f"{name} in parts: {out}, off by {float(rest - mp.mpf(out[-1])):.1e}")


def main():
    half = float(mp.log(2) / 2)
    table("exp", fit(mp.exp, -half, half, range(1, 7), fixed=lambda r: 1 + 0 * r))
    parts("ln 2", mp.log(2), [15])
    table("log1p", fit(mp.log1p, 0.5**0.5 - 1, 2**0.5 - 1, range(3, 10), fixed=lambda f: f - f * f / 2))
    quarter = float(mp.pi / 4)
    table("sin", fit(mp.sin, 0, quarter, (3, 5, 7), fixed=lambda r: r))
    table("cos", fit(mp.cos, 0, quarter, (4, 6, 8), fixed=lambda r: 1 - r * r / 2))
    parts("pi / 2", mp.pi / 2, [8, 8, 8])
    table("asin", fit(mp.asin, 0, 0.5, (3, 5, 7, 9, 11), fixed=lambda r: r))
    table("atan", fit(mp.atan, 0, 1, (3, 5, 7, 9, 11, 13, 15, 17), fixed=lambda r: r))
    # Odd rationals x·P(x²)/Q(x²) up to where the function rounds to 1 in f32.
    odd, even = (lambda n: range(1, 2 * n + 2, 2)), (lambda n: range(2, 2 * n + 1, 2))
    table("tanh", fit(mp.tanh, 0, 9.02, odd(4), even(4)))
    table("erf", fit(mp.erf, 0, 3.93, odd(5), even(5)))
    coefficients, left = fit_scaled_erfc(0.75, 6, 2, 14)
    print(f"erfc in f64, from the lowest power up: error {left * 2**53:.4f} · 2^-53\n  [{', '.join(map(repr, coefficients))}]")


main()
