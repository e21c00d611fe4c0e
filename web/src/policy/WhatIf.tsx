import { Button, Group, NumberInput, Stack, Text } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useState } from 'react'
import { ask, type Trouble } from '../api/client'
import type { WhatIf as Answer } from '../api/types'
import { State, Who } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Failure } from '../parts/States'
import { count } from '../parts/words'

/** WhatIf replays what was recorded against a policy that is not saved yet. */
export function WhatIf({ body }: { body: { guardrails?: unknown[]; grants?: unknown[] } }) {
  const [days, setDays] = useState<number | string>(7)
  const look = useMutation<Answer, Trouble>({ mutationFn: () => ask('POST', 'v1/what-if', { ...body, days: Number(days) || 7 }) })
  const key = JSON.stringify(body)
  useEffect(() => look.reset(), [key]) // eslint-disable-line
  const a = look.data
  const by = a?.by_identity ?? []
  const changed = a?.changed ?? []
  const total = by.reduce((n, r) => n + r.newly_refused + r.newly_allowed + r.newly_asked, 0)
  return (
    <section aria-label="What if" className="card" style={{ padding: '12px 16px' }}>
      <Group justify="space-between" gap="sm">
        <Text fw={600}>What if this had held?</Text>
        <Group gap="xs" wrap="nowrap">
          <Text size="sm" c="dimmed">over the last</Text>
          <NumberInput aria-label="Days" size="xs" w={64} min={1} max={90} value={days} onChange={setDays} hideControls />
          <Text size="sm" c="dimmed">days</Text>
          <Button size="xs" variant="default" onClick={() => look.mutate()} loading={look.isPending}>Look</Button>
        </Group>
      </Group>
      {look.isError && <Failure error={look.error} />}
      {a && (
        <Stack gap="xs" mt="sm" role="status">
          <Text>
            Of {count(a.requests, 'recorded request')}, <b>{total.toLocaleString()}</b> would have gone otherwise.
            {a.unsure > 0 && <span className="dim"> Of {a.unsure.toLocaleString()} the record says too little to be sure.</span>}
          </Text>
          {by.length > 0 && (
            <table className="table">
              <thead>
                <tr><th scope="col">Identity</th><th scope="col">Newly refused</th><th scope="col">Newly allowed</th><th scope="col">Newly asked</th></tr>
              </thead>
              <tbody>
                {by.slice(0, 50).map((r) => (
                  <tr key={r.identity}>
                    <td><Who id={r.identity} /></td>
                    <td className={r.newly_refused ? 'bad num' : 'num'}>{r.newly_refused}</td>
                    <td className={r.newly_allowed ? 'wait num' : 'num'}>{r.newly_allowed}</td>
                    <td className="num">{r.newly_asked}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {changed.length > 0 && (
            <details>
              <summary style={{ cursor: 'pointer' }}>Exactly which</summary>
              <div className="rows" style={{ maxHeight: 260, overflow: 'auto' }} tabIndex={0}>
                {changed.slice(0, 200).map((c, n) => (
                  <div key={n} style={{ padding: '6px 0' }}>
                    <Who id={c.identity} />: <State of={c.was} /> → <State of={c.would} />{' '}
                    <Link className="link" to="/ledger/$id" params={{ id: c.event }}>the request</Link>
                    <Text size="sm" c="dimmed"><Shown text={c.why} /></Text>
                  </div>
                ))}
              </div>
            </details>
          )}
        </Stack>
      )}
    </section>
  )
}
