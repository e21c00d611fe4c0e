import { Button, Group, Progress, Stack, Text } from '@mantine/core'
import { IconCircleCheck, IconHourglass } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { receipt as receiptQuery } from '../api/queries'
import type { KillResult, Receipt } from '../api/types'
import { Failure } from '../parts/States'
import { When } from '../parts/When'
import { Code, Facts } from '../parts/bits'
import { count } from '../parts/words'

const after = (from: string, to: string) => {
  const ms = Math.max(0, new Date(to).getTime() - new Date(from).getTime())
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** Fill is the receipt as it fills in: each gateway, and since when it enforces this, or by when it has stopped. */
export function Fill({ receipt, result, onClose }: { receipt: Receipt; result?: KillResult; onClose: () => void }) {
  const q = useQuery({ ...receiptQuery(receipt), initialData: receipt.committed ? receipt : undefined })
  const r = q.data
  if (!r) return q.isError ? <Failure error={q.error} again={() => void q.refetch()} /> : <Text c="dimmed">Asking for the receipt…</Text>
  // Asked for later, a receipt does not say any more when it was committed.
  const committed = [result?.receipt.committed, r.committed].find((t) => t && !t.startsWith('0001'))
  const confirmed = Object.entries(r.confirmed ?? {})
  const waiting = Object.entries(r.waiting ?? {})
  const all = confirmed.length + waiting.length
  const settled = waiting.length === 0
  return (
    <Stack>
      <div role="status" aria-live="polite">
        <Text size="lg" fw={640} className={settled ? 'good' : 'wait'}>
          {settled ? 'In force everywhere' : `In force at ${confirmed.length} of ${all} gateways`}
        </Text>
        {result && (
          <Text c="dimmed">
            {count(result.count, 'identity', 'identities')} and {count(result.credentials, 'credential')} stopped{result.upstream ? `, and the upstream ${result.upstream}` : ''}.
          </Text>
        )}
      </div>
      <Progress value={all ? (100 * confirmed.length) / all : 100} color={settled ? 'green' : 'yellow'} aria-label="Gateways that confirmed" />
      <section className="card rows" aria-label="Gateways">
        {confirmed.map(([name, at]) => (
          <Group key={name} justify="space-between" wrap="nowrap">
            <Group gap={8} wrap="nowrap">
              <IconCircleCheck size={18} className="good" aria-hidden />
              <Text fw={560}>{name}</Text>
            </Group>
            <Text size="sm" c="dimmed">
              enforces it{committed ? ` after ${after(committed, at)}` : ''}
            </Text>
          </Group>
        ))}
        {waiting.map(([name, by]) => (
          <Group key={name} justify="space-between" wrap="nowrap">
            <Group gap={8} wrap="nowrap">
              <IconHourglass size={18} className="wait" aria-hidden />
              <Text fw={560}>{name}</Text>
            </Group>
            <Text size="sm" c="dimmed">
              stops by itself <When at={by} as="clock" /> at the latest
            </Text>
          </Group>
        ))}
        {all === 0 && <Text c="dimmed">No gateway has to be told.</Text>}
      </section>
      <Facts
        of={[
          ...(committed ? ([['Committed', <When key="c" at={committed} as="full" />]] as [string, React.ReactNode][]) : []),
          ...(result?.id ? ([['Receipt', <span key="r" className="mono">{result.id}</span>]] as [string, React.ReactNode][]) : []),
          ...(result?.reason ? ([['Reason', result.reason]] as [string, React.ReactNode][]) : []),
        ]}
      />
      {result?.id && (
        <div>
          <Text size="sm" c="dimmed" mb={4}>
            To bring it back, with new credentials:
          </Text>
          <Code text={`lanyard restore --kill ${result.id} --reason "why"`} />
        </div>
      )}
      <Group>
        <Button onClick={onClose}>Done</Button>
        <Button variant="default" component={Link} to="/ledger" search={{ type: 'identity.kill' } as never}>
          See it in the ledger
        </Button>
      </Group>
    </Stack>
  )
}
