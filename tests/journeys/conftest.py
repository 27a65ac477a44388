from tests.browser import playwright_driver

__all__ = ["playwright_driver"]
