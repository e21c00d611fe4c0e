import { Alert, Anchor, Button, Checkbox, Group, SimpleGrid, Stack, Text, Textarea } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { got, POST, Trouble } from '../api/client'
import { stops, useChange } from '../api/queries'
import type { KillRequest, KillResult } from '../api/types'
import { useDraft } from '../app/draft'
import { Mark } from '../parts/Mark'
import { Shown } from '../parts/Shown'
import { Await, Failure } from '../parts/States'
import { count, short } from '../parts/words'
import type { Target } from './Cord'

const request = (t: Target, reason: string, dry: boolean): KillRequest => ({
  reason,
  ...(dry ? { dry_run: true } : {}),
  ...(t.noun === 'all' ? { all: true } : { [t.noun]: t.name }),
})
const kill = (body: KillRequest) => got(POST('/v1/kill', { body })) as Promise<KillResult>

/** Aim shows what would stop, and asks why. */
export function Aim({ target, onPulled, onOther }: { target: Target; onPulled: (r: KillResult) => void; onOther: () => void }) {
  const [draft, setDraft, forget] = useDraft(`cord.${target.noun}.${target.name}`, { reason: '' })
  const [sure, setSure] = useState(target.noun !== 'all')
  const would = useQuery({ queryKey: ['would-stop', target.noun, target.name], staleTime: 0, gcTime: 0, queryFn: () => kill(request(target, 'what would stop', true)) })
  const more = useQuery({ ...stops(target.name), enabled: target.noun === 'identity', retry: false })
  const pull = useChange(() => kill(request(target, draft.reason.trim(), false)))
  const name = target.noun === 'all' ? 'everything' : target.noun === 'owner' ? `everything of ${target.name}` : target.noun === 'upstream' ? `every call to ${target.name}` : target.name
  return (
    <Stack>
      <div>
        <Text size="lg" fw={640}>
          Stop <Shown text={name} most={120} />?
        </Text>
        <Anchor component="button" size="sm" onClick={onOther}>
          Something else
        </Anchor>
      </div>
      <Await of={would} lines={5}>
        {(w) => (
          <>
            <SimpleGrid cols={{ base: 2, xs: 4 }} spacing="xs">
              <Number n={w.count} of={w.count === 1 ? 'identity' : 'identities'} />
              <Number n={w.credentials} of={w.credentials === 1 ? 'credential' : 'credentials'} />
              {more.data && <Number n={more.data.running} of="running requests" />}
              {more.data && <Number n={more.data.tokens} of="live tokens" />}
            </SimpleGrid>
            {w.count === 0 && !w.upstream ? (
              <Text className="note">Nothing of it can act at this moment. Pulled all the same, what is suspended or waiting can not come back by itself.</Text>
            ) : (
              <Text size="sm" c="dimmed">
                From the next request on everything of this is refused. What runs is cut, and the credentials are dead for good: what is brought back later needs new ones.
              </Text>
            )}
            {!!w.identities?.length && (
              <section className="card" aria-label="What stops">
                <div className="rows" style={{ maxHeight: 220, overflow: 'auto' }} tabIndex={0}>
                  {w.identities.slice(0, 200).map((id) => (
                    <div key={id} style={{ padding: '6px 14px' }}>
                      <Text size="sm" fw={560}>
                        <Shown text={short(id)} most={100} />
                      </Text>
                      <Text size="xs" c="dimmed" className="mono">
                        <Shown text={id} most={160} />
                      </Text>
                    </div>
                  ))}
                </div>
                {w.count > 200 && (
                  <Text size="sm" c="dimmed" px="md" py={6}>
                    and {(w.count - 200).toLocaleString()} more
                  </Text>
                )}
              </section>
            )}
            {w.upstream && <Text className="note rope">The upstream {w.upstream} answers nobody any more, and accounts that owners connected there are forgotten.</Text>}
            {!!w.providers?.length && <Text className="note rope">{count(w.providers.length, 'identity provider')} will be disabled as well: {w.providers.join(', ')}.</Text>}
          </>
        )}
      </Await>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          pull.mutate(undefined, { onSuccess: (r) => (forget(), onPulled(r)) })
        }}
      >
        <Stack>
          <Textarea
            label="Why?"
            description="For the record, and for those who ask later"
            required
            autosize
            minRows={2}
            maxLength={500}
            value={draft.reason}
            onChange={(e) => setDraft({ reason: e.currentTarget.value })}
            data-autofocus
          />
          {target.noun === 'all' && <Checkbox label="I mean everything: every identity of every owner" checked={sure} onChange={(e) => setSure(e.currentTarget.checked)} />}
          {pull.error instanceof Trouble && <Failure error={pull.error} />}
          {pull.isError && pull.error.status === 0 && (
            <Alert color="yellow" variant="light">
              Nobody knows yet whether it was done. Pulling it again does no harm.
            </Alert>
          )}
          <Group>
            <Button type="submit" color="rope" size="md" fullWidth loading={pull.isPending} disabled={!draft.reason.trim() || !sure} leftSection={<Mark size={17} />}>
              Stop {target.noun === 'identity' ? short(target.name).slice(0, 40) : 'all of this'} now
            </Button>
          </Group>
        </Stack>
      </form>
    </Stack>
  )
}

function Number({ n, of }: { n: number; of: string }) {
  return (
    <div className="card" style={{ padding: '8px 12px' }}>
      <div className="num" style={{ fontSize: 22, fontWeight: 640 }}>
        {n.toLocaleString()}
      </div>
      <Text size="xs" c="dimmed">
        {of}
      </Text>
    </div>
  )
}
