import type { Schemas } from './client'

export type Identity = Schemas['IdentityView']
export type Owner = Schemas['OwnerView']
export type Upstream = Schemas['UpstreamView']
export type Grant = Schemas['Grant']
export type Guardrail = Schemas['Guardrail']
export type Gateway = Schemas['GatewayView']
export type ApprovalView = Schemas['ApprovalView']
export type Receipt = Schemas['Receipt']
export type KillRequest = Schemas['KillRequest']
export type KillResult = Schemas['KillResult']
export type Explained = Schemas['ExplainResult']

/** What is asked of GET /v1/identities. */
export type IdentityQuery = {
  q?: string
  owner?: string
  state?: string
  kind?: string
  environment?: string
  needs?: string
  sort?: string
}

/** Who is signed in. */
export type Me = {
  name: string
  email?: string
  owner?: string
  roles: string[]
  may: string[] // to something, at least
  may_to_all: string[] // to everything, not only to what is theirs
  session: { method: string; began: string; expires: string }
}

export type HomeView = Schemas['Home']

/** One event as it is recorded: OCSF, with what OCSF has no word for under unmapped. */
export type Leaf = {
  time: number
  metadata: { uid: string }
  actor: { user: { uid: string; credential_uid?: string }; session?: { uid: string } }
  api: { operation: string; request: { uid: string }; response?: { code: number }; service: { name: string } }
  resources?: { name: string }[]
  src_endpoint: { ip: string }
  status_detail?: string
  duration: number
  unmapped: {
    type: string
    outcome: string
    owner?: string
    class?: string
    gateway?: string
    trace?: string
    chain?: string[]
    policies?: string[]
    detail?: Record<string, string>
    us: number
    duration_us: number
  }
}
export type LedgerEntry = { index: number; event: Leaf }
export type Page<T> = { items: T[] | null; next?: string }

export type Graph = {
  nodes: { id: string; kind: 'person' | 'identity' | 'upstream'; label: string; state?: string }[]
  edges: { from: string; to: string; what: 'owns' | 'started' | 'may' | 'acted for' }[]
}
export type Stops = { identities: string[]; running: number; tokens: number }

export type BulkDo = 'suspend' | 'resume' | 'kill' | 'extend' | 'transfer'
export type BulkRequest = {
  do: BulkDo
  identities?: string[]
  where?: IdentityQuery
  owner?: string
  expires?: string
  reason?: string
  preview?: boolean
}
export type BulkResult = { identities: { id: string; would?: string; did?: string; error?: string }[] | null; receipt?: Receipt }

export type WhatIf = {
  requests: number
  changed: { identity: string; event: string; was: string; would: string; why: string }[] | null
  by_identity: { identity: string; newly_refused: number; newly_allowed: number; newly_asked: number }[] | null
  unsure: number
}

export type SignInOptions = { oidc: { name: string; url: string } | null; passkey: boolean }
export type Session = { id: string; method: string; began: string; expires: string; current?: boolean; from?: string; with?: string }
export type Passkey = { id: string; name?: string; created: string; last_used?: string }
