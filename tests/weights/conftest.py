from tests.models.conftest import one_thread, tiny_text_to_image  # noqa: F401
