"""The program that is tested."""

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """Everything below it has a table."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]


def place(session: Session, item: str) -> None:
    """Store an order and commit."""
    session.add(Order(item=item))
    session.commit()


def items(session: Session) -> list[str]:
    """Return what was ordered."""
    return list(session.scalars(select(Order.item).order_by(Order.id)))
