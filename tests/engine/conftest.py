from tests.store.conftest import job as job
