// Passkeys: what WebAuthn wants as bytes travels as base64url.
const bytes = (s: string) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
const text = (b: ArrayBuffer | null) => (b ? btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '') : undefined)

type Options = Record<string, unknown>
const opened = (o: Options): Options => (o.publicKey as Options) ?? o
const named = (list: unknown) => ((list as { id: string; type: 'public-key'; transports?: AuthenticatorTransport[] }[]) ?? []).map((c) => ({ ...c, id: bytes(c.id) }))

/** assertion signs in: the answer of a passkey to what the server asked. */
export async function assertion(begun: Options): Promise<unknown> {
  const o = opened(begun)
  const c = (await navigator.credentials.get({
    publicKey: { ...o, challenge: bytes(o.challenge as string), allowCredentials: named(o.allowCredentials) } as PublicKeyCredentialRequestOptions,
  })) as PublicKeyCredential
  const r = c.response as AuthenticatorAssertionResponse
  return {
    id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
    response: { clientDataJSON: text(r.clientDataJSON), authenticatorData: text(r.authenticatorData), signature: text(r.signature), userHandle: text(r.userHandle) },
  }
}

/** attestation makes a passkey. */
export async function attestation(begun: Options): Promise<unknown> {
  const o = opened(begun)
  const user = o.user as { id: string; name: string; displayName: string }
  const c = (await navigator.credentials.create({
    publicKey: { ...o, challenge: bytes(o.challenge as string), user: { ...user, id: bytes(user.id) }, excludeCredentials: named(o.excludeCredentials) } as unknown as PublicKeyCredentialCreationOptions,
  })) as PublicKeyCredential
  const r = c.response as AuthenticatorAttestationResponse
  return {
    id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
    response: { clientDataJSON: text(r.clientDataJSON), attestationObject: text(r.attestationObject), transports: r.getTransports?.() },
  }
}
