"""Who may do what: keys, tokens, API keys, roles and rate limits."""

from optimizer.security.api_keys import ApiKeyRecord as ApiKeyRecord
from optimizer.security.api_keys import ApiKeys as ApiKeys
from optimizer.security.api_keys import mint as mint
from optimizer.security.authenticator import Authenticator as Authenticator
from optimizer.security.authenticator import make_authenticator as make_authenticator
from optimizer.security.authenticator import make_tokens as make_tokens
from optimizer.security.identity import LOCAL as LOCAL
from optimizer.security.identity import Identity as Identity
from optimizer.security.identity import Permission as Permission
from optimizer.security.identity import permissions_of as permissions_of
from optimizer.security.identity import require as require
from optimizer.security.keys import Keys as Keys
from optimizer.security.keys import load_keys as load_keys
from optimizer.security.keys import open_signing_key as open_signing_key
from optimizer.security.limits import Admission as Admission
from optimizer.security.limits import RateLimit as RateLimit
from optimizer.security.tls import make_server_context as make_server_context
from optimizer.security.tls import reload_certificates as reload_certificates
from optimizer.security.tokens import Tokens as Tokens
