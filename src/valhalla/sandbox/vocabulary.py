"""The words of generated names: short, friendly, hard to mistake for one another."""

from typing import Final

ADJECTIVES: Final = """
amber bold brave bright brisk calm clever cosmic crisp daring dawn deep eager early fair fleet fresh
gentle golden grand happy hazel keen kind late light lively lucky lunar mellow merry mighty misty
noble northern olive pale proud quick quiet rapid rosy royal rustic sandy sharp silent silver snowy
solar steady still sunny swift tidy vivid warm wild windy wise young
""".split()

NOUNS: Final = """
acorn anchor ash aspen badger bay beacon birch bison brook canyon cedar cliff cloud comet coral
crane creek dale delta dune eagle elm ember falcon fern field finch fjord fox gale glade grove
harbor hawk heron hill island ivy lake lark lily lynx maple marsh meadow moon oak orbit otter owl
peak pebble pine raven reef ridge river robin sparrow spruce star stone summit thistle tide trail
valley wave willow wolf wren
""".split()
