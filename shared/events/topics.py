"""Every topic: what is on it, by what key, how long, who writes, who reads, and why it exists.

Kafka is set up from this table, AsyncAPI is generated from it, tests hold the code to it. State
topics have one partition: each reader reads all of it, and only then does a heartbeat prove that
everything before it has been seen (docs/adr/0004).
"""

from shared.events import (
    accounts,
    billing,
    catalog,
    completions,
    credential_audit,
    credential_health,
    credentials,
    dead_letters,
    fees,
    generations,
    payments,
    plans,
    receipts,
    routing,
)
from shared.events.envelope import Refused
from shared.events.topic import DAY_MS, LARGE_RECORD_BYTES_MAX, MINUTE_MS, Kind, Topic

INFERENCE_REQUESTS = Topic(
    name="inference.requests",
    kind=Kind.WORK,
    key="generation; work has no order to keep, so bursts choose the partition",
    events=(completions.CompletionRequested,),
    producers=("ingress",),
    consumers=("dispatcher",),
    why="completions to be carried out; sealed",
    record_bytes_max=LARGE_RECORD_BYTES_MAX,
    retention_ms=10 * MINUTE_MS,
)
INGRESS_REPLIES = Topic(
    name="ingress.replies",
    kind=Kind.REPLIES,
    key="generation or call; the partition is the ingress's ordinal",
    events=(
        completions.ReplyFrame,
        completions.DispatcherAlive,
        credentials.CredentialKept,
        credentials.CredentialForgotten,
        credentials.CredentialsReordered,
        credentials.CredentialsListed,
        billing.Spending,
        receipts.ReceiptFound,
        receipts.ReceiptsListed,
        receipts.ActivityListed,
        receipts.CreditsTold,
        billing.SpendingByKey,
        billing.CreditsKept,
        payments.PaymentKept,
        plans.PlanExplained,
        Refused,
    ),
    producers=("dispatcher", "key-vault", "billing"),
    consumers=("ingress",),
    why="answers on their way back to the ingress whose client waits; frames are sealed",
    record_bytes_max=LARGE_RECORD_BYTES_MAX,
    retention_ms=10 * MINUTE_MS,
)
INFERENCE_CANCELLATIONS = Topic(
    name="inference.cancellations",
    kind=Kind.BROADCAST,
    key="generation or ingress",
    events=(
        completions.GenerationCancelled,
        completions.IngressAlive,
        completions.DispatcherAlive,
    ),
    producers=("ingress", "dispatcher"),
    consumers=("dispatcher", "ingress"),
    why="stop what nobody waits for; which ingresses live",
    partitions=1,
    retention_ms=10 * MINUTE_MS,
)
INFERENCE_GENERATIONS = Topic(
    name="inference.generations",
    kind=Kind.FACT,
    key="account",
    events=(generations.GenerationFinished, generations.GenerationAbandoned),
    producers=("dispatcher", "ingress"),
    consumers=("billing", "anyone"),
    why="what is charged: usage, receipt of every attempt, prices, whose credential",
    retention_ms=35 * DAY_MS,
)
ROUTING_FALLBACKS = Topic(
    name="routing.fallbacks",
    kind=Kind.FACT,
    key="account",
    events=(routing.FallbackDecided,),
    producers=("dispatcher",),
    consumers=("anyone",),
    why="every time a request moved on to its next attempt, and why",
    retention_ms=35 * DAY_MS,
)
ROUTING_HEALTH = Topic(
    name="routing.health",
    kind=Kind.BROADCAST,
    key="credential",
    events=(routing.HealthChanged,),
    producers=("dispatcher",),
    consumers=("dispatcher",),
    why="a key that cools down at one dispatcher cools down at all of them",
    partitions=1,
    retention_ms=30 * MINUTE_MS,
)
ROUTING_PLANS = Topic(
    name="routing.plans",
    kind=Kind.CALL,
    key="account",
    events=(plans.ExplainPlan,),
    producers=("ingress",),
    consumers=("dispatcher",),
    why="what would be tried for a request, and why all else would not",
    partitions=12,
    retention_ms=10 * MINUTE_MS,
)
ACCOUNTS_STATE = Topic(
    name="accounts.state",
    kind=Kind.STATE,
    key="account",
    events=(accounts.AccountChanged,),
    producers=("ingress", "operations"),
    consumers=("ingress", "billing"),
    why="routing and fee policy of each account",
    partitions=1,
)
API_KEYS_STATE = Topic(
    name="api-keys.state",
    kind=Kind.STATE,
    key="API key hash",
    events=(accounts.ApiKeyChanged,),
    producers=("ingress", "operations"),
    consumers=("ingress", "billing"),
    why="caches of API keys forget what changed; billing enforces their limits",
    partitions=1,
)
CREDENTIALS_COMMANDS = Topic(
    name="credentials.commands",
    kind=Kind.CALL,
    key="account",
    events=(
        credentials.AddCredential,
        credentials.ChangeCredential,
        credentials.DeleteCredential,
        credentials.ReorderCredentials,
        credentials.GetCredential,
        credentials.ListCredentials,
        credential_health.CheckCredential,
    ),
    producers=("ingress", "operations"),
    consumers=("key-vault",),
    why="what accounts do with their credentials",
    partitions=12,
    retention_ms=10 * MINUTE_MS,
)
CREDENTIALS_STATE = Topic(
    name="credentials.state",
    kind=Kind.STATE,
    key="account/credential",
    events=(
        credentials.CredentialChanged,
        credentials.CredentialRemoved,
        credentials.CredentialsHeartbeat,
    ),
    producers=("key-vault",),
    consumers=("dispatcher",),
    why="what dispatchers plan with, secrets as ciphertext",
    partitions=1,
)
CREDENTIALS_AUDIT = Topic(
    name="credentials.audit",
    kind=Kind.FACT,
    key="account",
    events=(credential_audit.CredentialAudited,),
    producers=("key-vault",),
    consumers=("anyone",),
    why="who did what to which credential; what the chains in key_vault's database are held against",
    # few records, read whole by `make audit-verify`
    partitions=1,
    # a year's audit finds all of its year
    retention_ms=400 * DAY_MS,
)
CREDENTIALS_CHECKS = Topic(
    name="credentials.checks",
    kind=Kind.WORK,
    key="account",
    events=(credential_health.CredentialCheckRequested,),
    producers=("key-vault",),
    consumers=("dispatcher",),
    why="keys to be tried at their provider, after a save or on demand",
    partitions=12,
    retention_ms=10 * MINUTE_MS,
)
CREDENTIALS_OBSERVATIONS = Topic(
    name="credentials.observations",
    kind=Kind.FACT,
    key="account",
    events=(credential_health.CredentialChecked, credential_health.CredentialsObserved),
    producers=("dispatcher",),
    consumers=("key-vault", "anyone"),
    why="what checks found and how keys fare in use, gathered by the second",
    partitions=12,
    retention_ms=7 * DAY_MS,
)
BILLING_COMMANDS = Topic(
    name="billing.commands",
    kind=Kind.CALL,
    key="account",
    events=(
        billing.AuthorizeSpend,
        billing.ReleaseHolds,
        billing.AddCredits,
        billing.RefundCredits,
        billing.CorrectCredits,
        payments.RecordPayment,
        payments.RecordRefund,
        payments.RecordDispute,
        billing.QuerySpending,
        billing.QuerySpendingByKey,
    ),
    producers=("ingress", "dispatcher", "operations"),
    consumers=("billing",),
    why="may this attempt begin; credits in and out; questions",
    retention_ms=10 * MINUTE_MS,
)
BILLING_QUERIES = Topic(
    name="billing.queries",
    kind=Kind.CALL,
    key="account",
    events=(
        receipts.QueryReceipt,
        receipts.QueryReceipts,
        receipts.QueryActivity,
        receipts.QueryCredits,
    ),
    producers=("ingress",),
    consumers=("billing",),
    why="what was used and paid; apart from the commands, for which somebody's completion waits",
    partitions=12,
    retention_ms=10 * MINUTE_MS,
)
DISPATCHER_REPLIES = Topic(
    name="dispatcher.replies",
    kind=Kind.REPLIES,
    key="call; the partition is the dispatcher's ordinal",
    events=(billing.SpendAuthorized, billing.SpendRefused, billing.HoldsReleased, Refused),
    producers=("billing",),
    consumers=("dispatcher",),
    why="billing's answers to dispatchers",
    retention_ms=10 * MINUTE_MS,
)
OPERATIONS_REPLIES = Topic(
    name="operations.replies",
    kind=Kind.REPLIES,
    key="call",
    events=(
        billing.CreditsKept,
        credentials.CredentialKept,
        credentials.CredentialsListed,
        Refused,
    ),
    producers=("billing", "key-vault"),
    consumers=("operations",),
    why="answers to operators' commands",
    partitions=1,
    retention_ms=10 * MINUTE_MS,
)
BILLING_FEES = Topic(
    name="billing.fees",
    kind=Kind.FACT,
    key="account",
    events=(
        fees.FeeDeducted,
        fees.FeeWaived,
        fees.CreditsCharged,
        fees.CreditsAdded,
        fees.CreditsRefunded,
        fees.RefundReversed,
        fees.CreditsCorrected,
        fees.ChargeReversed,
    ),
    producers=("billing",),
    consumers=("key-vault", "anyone"),
    why="every movement of credits, with the numbers that made it; a small consumer of it is "
    "docs/examples/fees_by_credential.py",
    retention_ms=35 * DAY_MS,
)
BILLING_ACCOUNTS = Topic(
    name="billing.accounts",
    kind=Kind.STATE,
    key="account",
    events=(billing.AccountBalance, billing.BillingHeartbeat),
    producers=("billing",),
    consumers=("ingress", "dispatcher", "operations"),
    why="what an account may still spend",
    partitions=1,
)
CATALOG_MODELS = Topic(
    name="catalog.models",
    kind=Kind.STATE,
    key="model slug",
    events=(catalog.ModelListed,),
    producers=("operations",),
    consumers=("ingress", "key-vault", "dispatcher"),
    why="models, endpoints, prices, limits",
    partitions=1,
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    kind=Kind.FACT,
    key="the record's own key",
    events=(dead_letters.DeadLettered, payments.PaymentNotBooked),
    producers=("ingress", "key-vault", "dispatcher", "billing"),
    consumers=("anyone",),
    why="for an operator to look at: records that could not be understood, payments not booked",
    partitions=1,
    retention_ms=35 * DAY_MS,
)

TOPICS: tuple[Topic, ...] = (
    INFERENCE_REQUESTS,
    INGRESS_REPLIES,
    INFERENCE_CANCELLATIONS,
    INFERENCE_GENERATIONS,
    ROUTING_FALLBACKS,
    ROUTING_HEALTH,
    ROUTING_PLANS,
    ACCOUNTS_STATE,
    API_KEYS_STATE,
    CREDENTIALS_COMMANDS,
    CREDENTIALS_STATE,
    CREDENTIALS_AUDIT,
    CREDENTIALS_CHECKS,
    CREDENTIALS_OBSERVATIONS,
    BILLING_COMMANDS,
    BILLING_QUERIES,
    DISPATCHER_REPLIES,
    OPERATIONS_REPLIES,
    BILLING_FEES,
    BILLING_ACCOUNTS,
    CATALOG_MODELS,
    DEAD_LETTERS,
)
