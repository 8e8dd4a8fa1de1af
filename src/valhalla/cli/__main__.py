"""``python -m valhalla.cli``: how ``up --detach`` starts itself."""

from valhalla.cli.main import main

main()
