import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useState } from 'react'
import { got, POST } from '../api/client'
import { useChange } from '../api/queries'
import type { Identity } from '../api/types'
import { useMayTo } from '../app/session'
import { AddKey } from './AddKey'
import { Card } from '../parts/bits'
import { Shown } from '../parts/Shown'
import { Empty, Failure } from '../parts/States'
import { When } from '../parts/When'

const kinds: Record<string, string> = { private_key_jwt: 'key pair', api_key: 'API key', tls: 'TLS certificate', self_signed_tls_client_auth: 'TLS certificate', refresh_token: 'connected client', id_jag: 'word of a provider' }

export function Credentials({ i }: { i: Identity }) {
  const may = useMayTo(i.owner)
  const [adding, setAdding] = useState(false)
  const [revoking, setRevoking] = useState<string>()
  const list = [...(i.credentials ?? [])].sort((a, b) => Number(!!a.revoked) - Number(!!b.revoked) || b.created.localeCompare(a.created))
  return (
    <Card
      title="How it proves who it is"
      side={may('add-credential') && ['active', 'pending', 'suspended'].includes(i.state) ? <Button size="compact-sm" variant="default" onClick={() => setAdding(true)}>Add</Button> : undefined}
    >
      {list.length === 0 ? (
        <Empty title="No credential">Without one it cannot get a token, and so not do anything.</Empty>
      ) : (
        <div className="scroll" tabIndex={0} role="region" aria-label="Credentials, scrolls">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Kind</th>
                <th scope="col">Fingerprint</th>
                <th scope="col">Age</th>
                <th scope="col">Last used</th>
                <th scope="col">Ends</th>
                <th scope="col">
                  <span style={{ position: 'absolute', left: -9999 }}>Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((c) => (
                <tr key={c.id} style={c.revoked ? { opacity: 0.75 } : undefined}>
                  <td>{kinds[c.kind] ?? c.kind}</td>
                  <td className="mono" title={c.thumbprint}>{c.thumbprint ? c.thumbprint.slice(0, 12) + '…' : c.id}</td>
                  <td><When at={c.created} /></td>
                  <td><When at={c.last_used} /></td>
                  <td>{c.revoked ? <span className="bad">revoked <When at={c.revoked} /></span> : <When at={c.expires} as="day" />}</td>
                  <td style={{ textAlign: 'right' }}>
                    {!c.revoked && may('revoke') && (
                      <Button size="compact-xs" variant="subtle" color="red" onClick={() => setRevoking(c.id)}>
                        Revoke
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && (
        <Modal opened onClose={() => setAdding(false)} title={<>A credential for <Shown text={i.name} most={60} /></>} size="lg">
          <AddKey name={i.name} />
        </Modal>
      )}
      {revoking && <Revoke id={revoking} onClose={() => setRevoking(undefined)} />}
    </Card>
  )
}

function Revoke({ id, onClose }: { id: string; onClose: () => void }) {
  const [reason, setReason] = useState('')
  const go = useChange(() => got(POST('/v1/revoke', { body: { credential: id, reason } })))
  return (
    <Modal opened onClose={onClose} title="Revoke this credential?">
      <form onSubmit={(e) => (e.preventDefault(), go.mutate(undefined, { onSuccess: onClose }))}>
        <Stack>
          <Text>It is dead for good from now on, and tokens that it got are refused.</Text>
          <TextInput label="Why?" required value={reason} onChange={(e) => setReason(e.currentTarget.value)} data-autofocus maxLength={500} />
          {go.isError && <Failure error={go.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>Keep it</Button>
            <Button type="submit" color="red" loading={go.isPending} disabled={!reason.trim()}>Revoke</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
