import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { got, POST } from '../api/client'
import { gateways, useChange } from '../api/queries'
import type { Gateway } from '../api/types'
import { useMay } from '../app/session'
import { Card, Head, State } from '../parts/bits'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty, Failure } from '../parts/States'
import { When } from '../parts/When'
import { count } from '../parts/words'

export default function Gateways() {
  const q = useQuery(gateways)
  const may = useMay()
  const [evict, setEvict] = useState<string>()
  return (
    <>
      <Head title="Gateways" sub="Where requests are let through or refused, each from its own memory. One that hears nothing stops by itself." />
      <Card label="Gateways">
        <Await of={q}>
          {(page) =>
            (page.items ?? []).length === 0 ? <Empty title="No gateway">Nothing can be called without one: lanyard serve --role gateway</Empty> : (
              <div className="scroll" tabIndex={0} role="region" aria-label="Gateways, scrolls">
                <table className="table">
                  <thead>
                    <tr>
                      <th scope="col">Gateway</th><th scope="col">State</th><th scope="col">Follows</th><th scope="col">Behind</th><th scope="col">Last heard of</th><th scope="col">Certificate ends</th>
                      <th scope="col"><span style={{ position: 'absolute', left: -9999 }}>Actions</span></th>
                    </tr>
                  </thead>
                  <tbody>
                    {(page.items ?? []).map((g) => <Row key={g.name} g={g} onEvict={may('evict-gateway') && g.state === 'joined' ? () => setEvict(g.name) : undefined} />)}
                  </tbody>
                </table>
              </div>
            )
          }
        </Await>
      </Card>
      {evict && <Evict name={evict} onClose={() => setEvict(undefined)} />}
    </>
  )
}

function Row({ g, onEvict }: { g: Gateway; onEvict?: () => void }) {
  return (
    <tr>
      <td>
        <Text fw={600} size="sm">{plain(g.name, 80)}</Text>
        <Text size="xs" c="dimmed">{g.state === 'local' ? 'in the control plane’s own process' : g.from ? `from ${g.from}` : ''}{(g.upstreams ?? []).length ? ` · for ${plain((g.upstreams ?? []).join(', '), 80)}` : ''}</Text>
      </td>
      <td><State of={g.state} />{g.reason && <Text size="xs" c="dimmed"><Shown text={g.reason} /></Text>}</td>
      <td>{g.state === 'evicted' ? <span className="dim">no</span> : g.following ? <span className="good">yes</span> : <span className="bad">no{g.stops ? <>, stops <When at={g.stops} as="clock" /></> : ''}</span>}</td>
      <td className="num">{g.behind ? <span className="wait">{count(g.behind, 'change')}</span> : 'nothing'}</td>
      <td><When at={g.seen} /></td>
      <td><When at={g.expires} as="day" none="—" /></td>
      <td style={{ textAlign: 'right' }}>{onEvict && <Button size="compact-xs" variant="subtle" color="red" onClick={onEvict}>Evict</Button>}</td>
    </tr>
  )
}

function Evict({ name, onClose }: { name: string; onClose: () => void }) {
  const [reason, setReason] = useState('')
  const go = useChange(() => got(POST('/v1/gateways/{name}/evict', { params: { path: { name } }, body: { reason } })))
  return (
    <Modal opened onClose={onClose} title={`Evict ${plain(name, 60)}?`}>
      <form onSubmit={(e) => (e.preventDefault(), go.mutate(undefined, { onSuccess: onClose }))}>
        <Stack>
          <Text>It is told nothing any more, and serves nobody once its lease ends. To return it has to join anew.</Text>
          <TextInput label="Why?" required value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={500} data-autofocus />
          {go.isError && <Failure error={go.error} />}
          <Group justify="flex-end"><Button variant="default" onClick={onClose}>Keep it</Button><Button type="submit" color="red" loading={go.isPending} disabled={!reason.trim()}>Evict</Button></Group>
        </Stack>
      </form>
    </Modal>
  )
}
