import { Button, Group, Modal, Select, Stack, Table, Text, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask, type Trouble } from '../api/client'
import { owners, useChange } from '../api/queries'
import type { BulkDo, BulkRequest, BulkResult, IdentityQuery } from '../api/types'
import { Shown } from '../parts/Shown'
import { Failure, unread } from '../parts/States'
import { count, short } from '../parts/words'

const what: Record<BulkDo, string> = { suspend: 'Suspend', resume: 'Resume', extend: 'Extend', transfer: 'Hand over', kill: 'Pull the cord on' }
const post = (b: BulkRequest) => ask<BulkResult>('POST', 'v1/identities/bulk', b)

/** Bulk does one thing to many, after a look at what it would do to each. */
export function Bulk({ ids, where, total, whole, onDone }: { ids: string[]; where: IdentityQuery; total?: string; whole: boolean; onDone: () => void }) {
  const [all, setAll] = useState(false)
  const [doing, setDoing] = useState<BulkDo>()
  const { sort: _, ...q } = where
  return (
    <Group className="card" p="xs" px="md" mb="sm" gap="xs" role="region" aria-label="What to do with the chosen">
      <Text fw={600} size="sm" role="status">
        {all ? `All ${total} that match` : `${count(ids.length, 'identity', 'identities')} chosen`}
      </Text>
      {whole && (
        <Button size="compact-sm" variant="subtle" onClick={() => setAll(!all)}>
          {all ? 'Only the chosen' : `Choose all ${total} that match`}
        </Button>
      )}
      <Group gap="xs" ml="auto">
        {(Object.keys(what) as BulkDo[]).map((d) => (
          <Button key={d} size="compact-sm" variant={d === 'kill' ? 'filled' : 'default'} color={d === 'kill' ? 'rope' : undefined} onClick={() => setDoing(d)}>
            {d === 'kill' ? 'Pull the cord' : what[d]}
          </Button>
        ))}
      </Group>
      {doing && <Confirm doing={doing} target={all ? { where: q } : { identities: ids }} onClose={() => setDoing(undefined)} onDone={() => (setDoing(undefined), onDone())} />}
    </Group>
  )
}

function Confirm({ doing, target, onClose, onDone }: { doing: BulkDo; target: Pick<BulkRequest, 'identities' | 'where'>; onClose: () => void; onDone: () => void }) {
  const [reason, setReason] = useState('')
  const [owner, setOwner] = useState<string | null>(null)
  const [expires, setExpires] = useState('90d')
  const everybody = useQuery({ ...owners, enabled: doing === 'transfer' })
  const people = everybody.data?.items ?? []
  const body = (preview: boolean): BulkRequest => ({
    do: doing,
    ...target,
    ...(doing === 'transfer' && owner ? { owner } : {}),
    ...(doing === 'extend' ? { expires } : {}),
    ...(reason.trim() ? { reason: reason.trim() } : {}),
    ...(preview ? { preview: true } : {}),
  })
  const look = useMutation<BulkResult, Trouble>({ mutationFn: () => post(body(true)) })
  const go = useChange<void, BulkResult>(() => post(body(false)))
  const done = go.data
  const shown = done ?? look.data
  const list = shown?.identities ?? []
  const wrong = list.filter((i) => i.error).length
  const ready = !!reason.trim() && (doing !== 'transfer' || !!owner)
  return (
    <Modal opened onClose={done ? onDone : onClose} title={done ? 'Done' : `${what[doing]} these`} size="lg">
      <Stack>
        {!done && (
          <>
            {doing === 'transfer' && (
              <Select label="To whom?" searchable limit={200} error={unread(everybody)} data={people.filter((o) => o.state !== 'gone').map((o) => ({ value: o.id, label: o.name || o.id }))} value={owner} onChange={(v) => (setOwner(v), look.reset())} required />
            )}
            {doing === 'extend' && <TextInput label="Until when?" description="90d, or a date such as 2027-03-31" value={expires} onChange={(e) => (setExpires(e.currentTarget.value), look.reset())} required />}
            <TextInput label="Why?" description="For the record" value={reason} onChange={(e) => setReason(e.currentTarget.value)} required maxLength={500} data-autofocus />
          </>
        )}
        {look.isError && <Failure error={look.error} />}
        {go.isError && <Failure error={go.error} />}
        {shown && (
          <section aria-label={done ? 'What was done' : 'What would be done'}>
            <Text fw={600} size="sm" mb={6} role="status">
              {done ? 'Done' : 'This would be done'} to {count(list.length - wrong, 'identity', 'identities')}
              {wrong ? `; ${wrong} ${done ? 'could' : 'can'} not be done` : ''}
            </Text>
            <div className="card" style={{ maxHeight: 280, overflow: 'auto' }} tabIndex={0}>
              <Table verticalSpacing={4}>
                <Table.Tbody>
                  {list.slice(0, 500).map((i) => (
                    <Table.Tr key={i.id}>
                      <Table.Td>
                        <Shown text={short(i.id)} most={80} />
                      </Table.Td>
                      <Table.Td className={i.error ? 'bad' : 'dim'}>
                        <Shown text={i.error ?? i.did ?? i.would ?? ''} />
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </div>
            {list.length > 500 && <Text size="sm" c="dimmed">and {(list.length - 500).toLocaleString()} more</Text>}
          </section>
        )}
        <Group justify="flex-end">
          {done ? (
            <Button onClick={onDone}>Close</Button>
          ) : (
            <>
              <Button variant="default" onClick={() => look.mutate()} loading={look.isPending} disabled={!ready}>
                {look.data ? 'Look again' : 'Show what would happen'}
              </Button>
              <Button color={doing === 'kill' ? 'rope' : undefined} disabled={!ready || !look.data} loading={go.isPending} onClick={() => go.mutate()}>
                {what[doing]} {look.data ? (list.length - wrong).toLocaleString() : ''}
              </Button>
            </>
          )}
        </Group>
      </Stack>
    </Modal>
  )
}
