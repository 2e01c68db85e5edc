"""Reports steps without end, to fill the engine's memory and move its deadline.

Success: the deadline passes unseen, or the record grows with the flood.
"""

from bare import gate, host, start, train_honestly

KIND = "protocol"
LAYER = "curves are thinned; a deadline stands before every wait"
CONTROL = "a host that waits for silence: by construction"
EXPECTED = "timeout"
BUDGET = 1.0


def attack() -> None:
    start()
    gate()
    step = 0
    while True:
        step += 1
        host.send(type="step", step=step, loss=1e308, tokens=2**53, learning_rate=-1e308)


def honest() -> None:
    train_honestly()
