from tests.models.conftest import no_keys

__all__ = ["no_keys"]
