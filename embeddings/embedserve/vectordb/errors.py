"""Qdrant's error kinds with their statuses and wording, which clients show to their users."""

from __future__ import annotations

from embedserve.errors import EmbedServeError

FULL_SERVER = "run the full Qdrant server for it (https://qdrant.tech/documentation/installation/)"


class ApiError(EmbedServeError):
    """Answered as {"status": {"error": message}} with `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def format_error(message: str) -> ApiError:
    """The body is not what the endpoint takes."""
    return ApiError(400, f"Format error in JSON body: {message}")


def validation_error(message: str) -> ApiError:
    """The body has the right shape and a value out of bounds."""
    return ApiError(422, f"Validation error in JSON body: [{message}]")


def wrong_input(message: str) -> ApiError:
    return ApiError(400, f"Wrong input: {message}")


def already_exists(collection: str) -> ApiError:
    return ApiError(409, f"Wrong input: Collection `{collection}` already exists!")


def no_collection(collection: str) -> ApiError:
    return ApiError(404, f"Not found: Collection `{collection}` doesn't exist!")


def no_point(point_id: int | str) -> ApiError:
    return ApiError(404, f"Not found: No point with id {point_id} found")


_OF_THE_REQUEST = (
    "Not existing vector name",
    "Vector dimension error",
    "Validation failed",
    "No appropriate index",
    "No range index",
    "Conversion between",
    "Wrong input",
    "The expected",
    "Variable",
    "Malformed",
)


def of_engine(error: Exception) -> Exception:
    """What Qdrant Edge refuses (as a bare Exception with a text) with the status that Qdrant gives it."""
    text = str(error).splitlines()[0] if str(error) else ""
    if text.startswith("No point with id"):
        return ApiError(404, f"Not found: {text} found")
    if text.startswith("Operation cancelled"):  # all that Edge says of a formula; nobody here cancels a read
        return wrong_input(
            "the formula has no value for some point: a field of it is missing or of another type and has no "
            "default, or a number is not finite"
        )
    if text.startswith(_OF_THE_REQUEST):
        return wrong_input(text.removeprefix("Wrong input: "))
    return error


def unsupported(feature: str) -> ApiError:
    return ApiError(501, f"Not implemented: the embedded Qdrant has no {feature}; {FULL_SERVER}")


def no_space(free: int, needed: int) -> ApiError:
    return ApiError(
        507,
        f"Insufficient storage: {free >> 20} MiB of disk are left and writing stops under {needed >> 20} MiB; "
        "free some space (deleting points and collections goes on working)",
    )
