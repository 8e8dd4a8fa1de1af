"""Children that loop, fill memory, die or chatter: their parents go on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from valhalla.kit.children import Child, ChildFailed, Children

pytestmark = pytest.mark.slow
_MODULE = "valhalla.kit.children.templates"
_MEMORY = 512 * 2**20


def asked(body: str, **context: object) -> dict[str, object]:
    return {"parts": {"body": body}, "context": context, "most": 1000}


HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "fills": "{{ 'x' * 10 ** 10 }}",
    "doubles": "{% set x = 'ab' %}" + "{% set x = x ~ x %}" * 60,
    "pads": "{{ 'a'.ljust(2000000000) }}",
    "surrogate": r"{{ '\ud800' }}",
}
BAD = {
    "escapes": "{{ ''.__class__.__mro__[1].__subclasses__()[0] }}",
    "recurses": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "long": "{% for i in range(999) %}xxxxxxxxxx{% endfor %}",
    "broken": "{% if",
}


async def test_whatever_a_template_does_is_over_in_a_second_and_the_next_one_works() -> None:
    child = Child(_MODULE, memory=_MEMORY)
    try:
        for what, body in HOSTILE.items():
            with pytest.raises(ChildFailed):
                await child.ask(asked(body), seconds=1.0)
            assert await child.ask(asked("{{ a }}", a=what), seconds=5.0) == {"rendered": {"body": what}}
        for what, body in BAD.items():
            answer = await child.ask(asked(body), seconds=5.0)
            assert "error" in answer or answer == {"rendered": {"body": ""}}, what
    finally:
        await child.close()


async def test_a_child_that_died_meanwhile_is_replaced() -> None:
    child = Child(_MODULE, memory=_MEMORY)
    try:
        await child.ask(asked("x"), seconds=5.0)
        process = child._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert await child.ask(asked("y"), seconds=5.0) == {"rendered": {"body": "y"}}
    finally:
        await child.close()


async def test_one_that_hangs_holds_up_nobody_else() -> None:
    children = Children(_MODULE, memory=_MEMORY, most=2)
    try:
        slow = asyncio.create_task(children.ask(asked(HOSTILE["loops"]), seconds=60.0))
        await asyncio.sleep(0.1)
        assert await children.ask(asked("x"), seconds=10.0) == {"rendered": {"body": "x"}}
        assert not slow.done()
        slow.cancel()
    finally:
        await children.close()
