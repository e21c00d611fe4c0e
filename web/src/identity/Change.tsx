import { Button, Group, Modal, Select, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { ask, got, POST } from '../api/client'
import { owners, useChange } from '../api/queries'
import type { BulkResult, Identity } from '../api/types'
import { Shown } from '../parts/Shown'
import { Failure, unread } from '../parts/States'

export type Doing = 'activate' | 'resume' | 'restore' | 'suspend' | 'renew' | 'retire' | 'hand over'

const means: Record<Doing, string> = {
  activate: 'It may act from now on, within its grants.',
  resume: 'It may act again, as before.',
  restore: 'It comes back as it was, but its old credentials and tokens stay dead: add a new credential afterwards.',
  suspend: 'It is refused from its next request on, until somebody resumes it. Its credentials stay.',
  renew: 'It gets a later end.',
  retire: 'This is the end of it, for good. Its name stays taken.',
  'hand over': 'Somebody else answers for it from now on.',
}

export function Change({ i, doing, onClose }: { i: Identity; doing: Doing; onClose: () => void }) {
  const [reason, setReason] = useState('')
  const [expires, setExpires] = useState('90d')
  const [owner, setOwner] = useState<string | null>(null)
  const everybody = useQuery({ ...owners, enabled: doing === 'hand over' })
  const people = everybody.data?.items ?? []
  const go = useChange(async (): Promise<unknown> => {
    const on = { params: { path: { name: i.name } } }
    const why = reason.trim() ? { reason: reason.trim() } : {}
    switch (doing) {
      case 'activate': return got(POST('/v1/identities/{name}/activate', { ...on, body: why }))
      case 'resume': return got(POST('/v1/identities/{name}/resume', { ...on, body: why }))
      case 'suspend': return got(POST('/v1/identities/{name}/suspend', { ...on, body: why }))
      case 'retire': return got(POST('/v1/identities/{name}/retire', { ...on, body: why }))
      case 'renew': return got(POST('/v1/identities/{name}/renew', { ...on, body: { ...why, expires } }))
      case 'restore': return got(POST('/v1/restore', { body: { identity: i.name, reason: reason.trim() } }))
      case 'hand over': {
        const r = await ask<BulkResult>('POST', 'v1/identities/bulk', { do: 'transfer', identities: [i.id], owner, ...why })
        const wrong = r.identities?.find((x) => x.error)
        if (wrong) throw new Error(wrong.error)
        return r
      }
    }
  })
  const title = doing[0]!.toUpperCase() + doing.slice(1)
  return (
    <Modal opened onClose={onClose} title={<>{title} <Shown text={i.name} most={60} />?</>}>
      <form onSubmit={(e) => (e.preventDefault(), go.mutate(undefined, { onSuccess: onClose }))}>
        <Stack>
          <Text>{means[doing]}</Text>
          {doing === 'renew' && <TextInput label="Until when?" description="90d, or a date such as 2027-03-31" value={expires} required onChange={(e) => setExpires(e.currentTarget.value)} />}
          {doing === 'hand over' && <Select label="To whom?" searchable required limit={200} error={unread(everybody)} value={owner} onChange={setOwner} data={people.filter((o) => o.id !== i.owner).map((o) => ({ value: o.id, label: o.name || o.id }))} />}
          <TextInput label="Why?" description="For the record" required={doing !== 'activate'} value={reason} maxLength={500} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus />
          {go.isError && <Failure error={go.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>Leave it</Button>
            <Button type="submit" loading={go.isPending} color={doing === 'retire' ? 'red' : undefined} disabled={doing === 'hand over' && !owner}>{title}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
