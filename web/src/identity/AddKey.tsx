import { Button, Group, SegmentedControl, Stack, Text, Textarea } from '@mantine/core'
import { useState } from 'react'
import { got, POST } from '../api/client'
import { useChange } from '../api/queries'
import { Code } from '../parts/bits'
import { Failure } from '../parts/States'
import { When } from '../parts/When'

/** AddKey gives an identity a credential: the public half of a key pair, or an API key that is shown once. */
export function AddKey({ name, first = 'key', onAdded }: { name: string; first?: 'key' | 'api'; onAdded?: (api?: string) => void }) {
  const [kind, setKind] = useState<string>(first)
  const [key, setKey] = useState('')
  const [bad, setBad] = useState('')
  const add = useChange(() => {
    const body = kind === 'api' ? { api_key: true } : { public_key: JSON.parse(key) as unknown }
    return got(POST('/v1/identities/{name}/credentials', { params: { path: { name } }, body: body as never }))
  })
  const send = () => {
    setBad('')
    if (kind === 'key') {
      try {
        const jwk = JSON.parse(key) as { d?: unknown; kty?: unknown }
        if (jwk.d !== undefined) return setBad('This is the private half. It must stay with the agent: paste the file that ends in .jwk, without key in its name.')
        if (!jwk.kty) return setBad('This is no JWK: it has no kty.')
      } catch {
        return setBad('This is no JSON. A JWK begins with { and ends with }.')
      }
    }
    add.mutate(undefined, { onSuccess: (c) => onAdded?.(c.api_key) })
  }
  if (add.data)
    return (
      <Stack role="status">
        {add.data.api_key ? (
          <>
            <Text fw={600}>Copy the key now: it is shown this once.</Text>
            <Code text={add.data.api_key} label="The API key" />
          </>
        ) : (
          <Text fw={600} className="good">
            It has this key now.
          </Text>
        )}
        <Text size="sm" c="dimmed">
          It ends <When at={add.data.expires} />, <When at={add.data.expires} as="day" />.
        </Text>
      </Stack>
    )
  return (
    <form onSubmit={(e) => (e.preventDefault(), send())}>
      <Stack>
        <SegmentedControl value={kind} onChange={setKind} data={[{ value: 'key', label: 'Key pair (better)' }, { value: 'api', label: 'API key' }]} aria-label="Kind of credential" />
        {kind === 'key' ? (
          <>
            <Text size="sm">Make the pair where the agent runs. The private half never leaves it:</Text>
            <Code text={`lanyard keygen ${name}`} />
            <Textarea
              label="The public half"
              description={`What is in ${name.slice(0, 60)}.jwk`}
              placeholder='{"kty":"OKP","crv":"Ed25519","x":"…"}'
              value={key}
              onChange={(e) => setKey(e.currentTarget.value)}
              error={bad}
              autosize
              minRows={3}
              required
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
            />
          </>
        ) : (
          <Text size="sm">For a client that can do no better: whoever has the key is this identity. It is kept here as a hash, shown once, and ends in 90 days.</Text>
        )}
        {add.isError && <Failure error={add.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={add.isPending}>{kind === 'key' ? 'Add the key' : 'Make the key'}</Button>
        </Group>
      </Stack>
    </form>
  )
}
