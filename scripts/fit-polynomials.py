#!/usr/bin/env python3
"""Fits the minimax polynomials and rationals of src/scalar/ops/transcendental.ts and prints its coefficient tables.

Needs numpy and mpmath:  python scripts/fit-polynomials.py

Polynomials come from weighted linear Remez exchange in 60-digit arithmetic; rationals from Lawson-weighted least squares
on Chebyshev nodes, linearised by the denominator of the last round. The error that is levelled is relative to the
function, so that it can be read in ulp (one ulp is between 2^-24 and 2^-23 of a value). Afterwards the coefficients are
rounded to f32 one by one, from the constant term up, refitting those not yet rounded.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def f32(v):
    return mp.mpf(float(np.float32(float(v))))


def nodes(a, b, n):
    return [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * mp.mpf(2 * i + 1) / (2 * n)) for i in range(n)]


def remez(target, weight, a, b, degree, rounds=30):
    """Coefficients (from x^0 up) of the polynomial p that levels |weight·(p - target)| on [a, b], and that level."""
    a, b = mp.mpf(a), mp.mpf(b)
    points = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * mp.mpf(i) / (degree + 1)) for i in range(degree + 2)]
    grid = nodes(a, b, 60 * (degree + 2))
    values = [(x, target(x), weight(x)) for x in grid]
    coefficients, level = [], mp.mpf(0)
    for _ in range(rounds):
        m = mp.matrix(degree + 2, degree + 2)
        r = mp.matrix(degree + 2, 1)
        for i, x in enumerate(points):
            for k in range(degree + 1):
                m[i, k] = x**k
            m[i, degree + 1] = (-1) ** i / weight(x)
            r[i] = target(x)
        s = mp.lu_solve(m, r)
        coefficients, level = [s[k] for k in range(degree + 1)], abs(s[degree + 1])
        errors = [w * (mp.polyval(coefficients[::-1], x) - t) for x, t, w in values]
        # The largest error of each run of one sign.
        extrema = []
        for x, e in zip(grid, errors):
            if extrema and (extrema[-1][1] > 0) == (e > 0):
                if abs(e) > abs(extrema[-1][1]):
                    extrema[-1] = (x, e)
            else:
                extrema.append((x, e))
        while len(extrema) > degree + 2:
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        if len(extrema) < degree + 2:
            break
        points = [x for x, _ in extrema]
        if max(abs(e) for _, e in extrema) < level * mp.mpf("1.001"):
            break
    return coefficients, level


def rounded(target, weight, a, b, degree):
    """`remez` with f32 coefficients: each is rounded in turn, and the rest fitted to what remains."""
    done = []
    for k in range(degree + 1):
        # (target - done)/x^k is fitted by the rest; its weight is that of x^k times the old one.
        rest = lambda x, k=k: (target(x) - mp.polyval(done[::-1], x) if done else target(x)) / x**k
        c, _ = remez(rest, lambda x, k=k: weight(x) * x**k if weight(x) * x**k != 0 else mp.mpf("1e-30"), a, b, degree - k)
        done.append(f32(c[0]))
    worst = max(abs(weight(x) * (mp.polyval(done[::-1], x) - target(x))) for x in nodes(mp.mpf(a), mp.mpf(b), 2000))
    return done, worst


def rational(target, b, top, bottom, rounds=400):
    """P/Q in u on [0, b] with P(0) = Q(0)·target(0) free and Q(0) = 1, levelling the relative error; f32 coefficients."""
    n = 1500
    u = np.array([float(x) for x in nodes(mp.mpf(0), mp.mpf(b), n)])
    t = np.array([float(target(mp.mpf(x))) for x in u])
    s = u / b
    lawson = np.ones(n)
    q = np.ones(n)
    best = (np.inf, None)
    fixed_p, fixed_q = {}, {0: 1.0}

    def solve(weights):
        columns, names = [], []
        right = t.copy()
        for k in range(top + 1):
            if k in fixed_p:
                right = right - fixed_p[k] * s**k
            else:
                columns.append(s**k)
                names.append(("p", k))
        for k in range(1, bottom + 1):
            if k in fixed_q:
                right = right + fixed_q[k] * s**k * t
            else:
                columns.append(-(s**k) * t)
                names.append(("q", k))
        w = np.sqrt(weights) / (np.abs(t) * np.abs(q))
        p, qq = dict(fixed_p), dict(fixed_q)
        if columns:
            x = np.linalg.lstsq(np.stack(columns, 1) * w[:, None], right * w, rcond=None)[0]
            for (kind, k), v in zip(names, x):
                (p if kind == "p" else qq)[k] = v
        return p, qq

    def level(p, qq):
        top_values = sum(p[k] * s**k for k in p)
        bottom_values = sum(qq[k] * s**k for k in qq)
        return top_values / bottom_values / t - 1, bottom_values

    def run(count):
        nonlocal lawson, q, best
        lawson = np.ones(n)
        best = (np.inf, None)
        for _ in range(count):
            p, qq = solve(lawson)
            e, q = level(p, qq)
            worst = np.abs(e).max()
            if worst < best[0]:
                best = (worst, (p, qq))
            lawson = lawson * (np.abs(e) / worst + 1e-3)
            lawson /= lawson.mean()
        return best

    run(rounds)
    order = [("p", k) for k in range(top + 1)] + [("q", k) for k in range(1, bottom + 1)]
    order.sort(key=lambda o: o[1])
    for kind, k in order:
        p, qq = best[1]
        store = fixed_p if kind == "p" else fixed_q
        store[k] = float(np.float32((p if kind == "p" else qq)[k] / b**k)) * b**k
        run(60)
    p, qq = solve(lawson)
    e, _ = level(p, qq)
    return [p[k] / b**k for k in range(top + 1)], [qq[k] / b**k for k in range(bottom + 1)], np.abs(e).max()


def table(name, coefficients, worst):
    """Prints one table, highest power first, as Horner's scheme takes it."""
    values = ", ".join(repr(float(np.float32(float(c)))) for c in list(coefficients)[::-1])
    print(f"{name}: [{values}],  // relative error {float(worst):.2e} = {float(worst) * 2**24:.2f} · 2^-24")


def main():
    half = mp.log(2) / 2
    # exp(r) = 1 + r·p(r); levelled: the error of exp.
    for degree in (4, 5):
        c, e = rounded(lambda r: mp.expm1(r) / r if r != 0 else mp.mpf(1), lambda r: abs(r) / mp.exp(r), -half, half, degree)
        table(f"exp{degree + 1}", c, e)
    # log(1 + f) = f - f²/2 + f³·p(f); levelled: the error against the leading term f.
    series = lambda f: (mp.log1p(f) - f + f * f / 2) / f**3 if abs(f) > 1e-8 else mp.mpf(1) / 3 - f / 4
    for degree in (6, 7, 8):
        c, e = rounded(series, lambda f: f**3 / mp.log1p(f) if f != 0 else mp.mpf(0), mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1, degree)
        table(f"log{degree}", c, e)
    quarter = mp.pi / 4
    # sin r = r + r³·p(r²), cos r = 1 - r²/2 + r⁴·p(r²), in u = r².
    c, e = rounded(lambda u: (mp.sin(mp.sqrt(u)) / mp.sqrt(u) - 1) / u, lambda u: u / (mp.sin(mp.sqrt(u)) / mp.sqrt(u)), mp.mpf("1e-12"), quarter**2, 2)
    table("sin2", c, e)
    c, e = rounded(lambda u: (mp.sin(mp.sqrt(u)) / mp.sqrt(u) - 1) / u, lambda u: u / (mp.sin(mp.sqrt(u)) / mp.sqrt(u)), mp.mpf("1e-12"), quarter**2, 3)
    table("sin3", c, e)
    c, e = rounded(lambda u: (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2, lambda u: u**2 / mp.cos(mp.sqrt(u)), mp.mpf("1e-8"), quarter**2, 2)
    table("cos2", c, e)
    # tanh x = x·P(x²)/Q(x²) up to where it rounds to 1, erf likewise.
    for top, bottom in ((5, 3), (6, 3), (5, 4), (4, 4)):
        p, q, e = rational(lambda u: mp.tanh(mp.sqrt(u)) / mp.sqrt(u), 9.02**2, top, bottom)
        table(f"tanh{top}/{bottom} P", p, e)
        table(f"tanh{top}/{bottom} Q", q, e)
    for top, bottom in ((5, 4), (6, 4), (5, 5), (4, 5)):
        p, q, e = rational(lambda u: mp.erf(mp.sqrt(u)) / mp.sqrt(u), 3.93**2, top, bottom)
        table(f"erf{top}/{bottom} P", p, e)
        table(f"erf{top}/{bottom} Q", q, e)


main()
