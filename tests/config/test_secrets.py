"""No secret leaves the settings: not by errors, dumps, differences or representations."""

import traceback
from pathlib import Path

import pytest

from optimizer.config import Settings, diff, dump, load_settings
from optimizer.model import ConfigurationError

CANARY = "canary-7f3a9d51e0b2-canary-7f3a9d51e0b2"

GOOD = {
    "LLM_OPTIMIZER__STORAGE__POSTGRES_URL": f"postgres://u:{CANARY}@h/db",
    "LLM_OPTIMIZER__STORAGE__REDIS_URL": f"redis://:{CANARY}@h",
    "LLM_OPTIMIZER__COLLECTOR__KAFKA_PASSWORD": CANARY,
    "LLM_OPTIMIZER__INTEGRATIONS__GITHUB_TOKEN": CANARY,
    "LLM_OPTIMIZER__INTEGRATIONS__SLACK_WEBHOOK_URL": f"https://hooks/{CANARY}",
    "LLM_OPTIMIZER__INTEGRATIONS__JIRA": f'{{"base_url": "https://j", "email": "a@b", "api_token": "{CANARY}"}}',
    "LLM_OPTIMIZER__INTEGRATIONS__ANTHROPIC__API_KEY": CANARY,
    "LLM_OPTIMIZER__SECURITY__JWT_SECRET": CANARY,
    "LLM_OPTIMIZER__SECURITY__JWT_PREVIOUS_SECRETS": CANARY,
    "LLM_OPTIMIZER__SECURITY__API_KEYS": f'[{{"name": "ci", "key": "{CANARY}", "roles": ["user"]}}]',
}


def test_a_loaded_secret_is_not_shown_anywhere() -> None:
    settings = load_settings(None, GOOD)
    assert settings.storage.postgres_url is not None
    assert CANARY in settings.storage.postgres_url.get_secret_value()
    changes = diff(Settings(), settings)
    assert len(changes.restart) == len(GOOD)
    texts = [repr(settings), str(settings), repr(changes), settings.model_dump_json(), repr(settings.model_dump())]
    texts += [dump(settings, "toml", comments=True), dump(settings, "yaml"), dump(settings, "json")]
    assert not any(CANARY in text for text in texts)


KEY_TABLE = '[[security.api_keys]]\nname = "a"\nkey = "CANARY"\nroles = ["user"]\n'

# Every secret given wrongly in turn: as a wrong scheme, a wrong type, under a misspelt key, in broken JSON.
BAD = [
    '[storage]\npostgres_url = "mysql://CANARY"',
    '[storage]\npostgres_url = ["CANARY"]',
    '[storage]\npostgres_ulr = "postgres://CANARY"',
    '[storage]\nredis_url = "CANARY"',
    '[storage.redis_url]\nurl = "CANARY"',
    '[integrations]\nslack_webhook_url = "CANARY"',
    '[integrations]\nslack_webhook = "CANARY"',
    '[integrations]\ngithub_token = { token = "CANARY" }',
    '[integrations]\njira = "CANARY"',
    '[integrations]\njira = ["CANARY"]',
    '[integrations.jira]\nbase_url = "https://x"\nemail = ""\napi_token = "CANARY"',
    '[integrations.anthropic]\napi_key = "CANARY"\nbase_url = "x"',
    '[integrations.anthropic]\napikey = "CANARY"',
    '[collector]\nkafka_security = "SASL_SSL"\nkafka_password = "CANARY"',
    '[collector]\nkafka_pass = "CANARY"',
    '[security]\njwt_secret = ["CANARY"]',
    '[security]\njwt_secrets = "CANARY"',
    '[security]\njwt_previous_secrets = "CANARY"',
    '[security]\njwt_previous_secrets = [["CANARY"]]',
    '[security]\napi_keys = ["CANARY"]',
    '[[security.api_keys]]\nname = "a"\nkey = "CANARY"\nroles = []',
    KEY_TABLE + KEY_TABLE,
    '[[security.api_keys]]\nname = "a"\nkey = "CANARY"\nroles = ["user"]\nextra = "CANARY"',
    'secret = "CANARY"',
    '[secrets]\nkey = "CANARY"',
    '[security]\njwt_secret = "CANARY',
    "[security]\njwt_secret = CANARY",
]


@pytest.mark.parametrize("text", BAD)
def test_a_misplaced_secret_is_not_in_the_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text.replace("CANARY", CANARY))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_broken_secret_variable_is_not_in_the_error(name: str) -> None:
    for value in (f"[{CANARY}", f'{{"a": "{CANARY}"}}', f'[["{CANARY}"]]', f"{CANARY[:8]}"):
        message = ""
        try:
            load_settings(None, {name: value})
        except ConfigurationError as error:
            message = "".join(traceback.format_exception(error))
        assert CANARY[:8] not in message


@pytest.mark.parametrize(
    "text", ["a: {b: [CANARY", "security:\n  jwt_secret: 'CANARY\n", "security: &a CANARY\nx: *b\n"]
)
def test_broken_yaml_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text.replace("CANARY", CANARY))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    assert CANARY not in str(caught.value)
