"""SandboxDatabaseManager: sessions that do not see each other's work, and a database that can be reset."""

from sqlalchemy import text

from valhalla import SandboxDatabaseManager
from valhalla.blocks.errors import ProductionDatabase

COUNT = text("SELECT count(*) FROM orders")


def main() -> None:
    """Tell the story."""
    with SandboxDatabaseManager(use_memory=True) as database:
        database.seed(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT); INSERT INTO orders VALUES (1, 'helmet')"
        )
        with database.get_session() as one, database.get_session() as other:
            one.execute(text("INSERT INTO orders (item) VALUES ('shield')"))
            print("before the commit the other session counts", other.scalar(COUNT))
            other.rollback()
            one.commit()
            print("after it", other.scalar(COUNT))
        database.reset()
        with database.get_session() as session:
            print("after a reset", session.scalar(COUNT))
    try:
        SandboxDatabaseManager("postgresql://shop:secret@db.prod.example.com/shop")
    except ProductionDatabase as refused:
        print(refused.detail)


if __name__ == "__main__":
    main()
