import { Loader, Stack, Text } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import type { EventQuery } from '../api/queries'
import { useLive } from '../app/stream'
import { Events } from '../parts/Events'
import { Failure } from '../parts/States'
import { short } from '../parts/words'

/** FirstCall waits for what a new one does first, and shows it as it arrives. */
export function FirstCall({ query, since }: { query: EventQuery; since?: number }) {
  const [from] = useState(since ?? 0)
  const { list, error, fresh, live, again } = useLive(query, 20)
  if (error && !list) return <Failure error={error} again={again} />
  const come = (list ?? []).filter((e) => e.event.time >= from && (e.event.unmapped.type === 'request' || e.event.unmapped.type.startsWith('token.') || e.event.unmapped.type === 'identity.register'))
  const first = come.filter((e) => e.event.unmapped.type === 'request').at(-1)
  return (
    <Stack gap="sm">
      {first ? (
        <Text fw={600} className={first.event.unmapped.outcome === 'allowed' ? 'good' : 'wait'} role="status">
          {first.event.unmapped.outcome === 'allowed' ? 'Its first call has arrived.' : 'Its first call has arrived, and was refused; the line below says why.'}{' '}
          <Link className="link" to="/identities/$name" params={{ name: short(first.event.actor.user.uid) }}>
            Its page
          </Link>
        </Text>
      ) : (
        <Text c="dimmed" role="status">
          <Loader size={14} mr={8} aria-hidden style={{ verticalAlign: 'middle' }} />
          {live === 'away' ? 'This page is not live at the moment, and tries again by itself…' : 'Waiting for its first call. It shows here by itself.'}
        </Text>
      )}
      {come.length > 0 && (
        <div className="card">
          <Events of={come} fresh={fresh} />
        </div>
      )}
    </Stack>
  )
}
