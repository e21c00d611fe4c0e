import { Button, Group, Stack, Text } from '@mantine/core'
import { IconFingerprint } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { ask } from '../api/client'
import { useChange } from '../api/queries'
import type { Page, Passkey, Session } from '../api/types'
import { attestation } from '../app/passkey'
import { signOut, useMe } from '../app/session'
import { Card, Facts, Head } from '../parts/bits'
import { plain, Shown } from '../parts/Shown'
import { Await, Empty, Failure } from '../parts/States'
import { When } from '../parts/When'

const methods: Record<string, string> = { oidc: 'your organisation’s sign-in', passkey: 'a passkey', link: 'a sign-in code', device: 'lanyard login' }
const roles: Record<string, string> = {
  admin: 'everything',
  security: 'sees everything; policy and the cord',
  operator: 'runs identities, upstreams and gateways',
  owner: 'sees and controls what is yours',
  auditor: 'reads everything, changes nothing',
}

/** browser is the part of how a browser calls itself that people know it by. */
const browser = (s: string) => /(Firefox|Edg|OPR|Chrome|Safari)\/[\d]+/.exec(s)?.[0].replace('/', ' ').replace('Edg', 'Edge').replace('OPR', 'Opera') ?? s

export default function Account() {
  const me = useMe()
  const sessions = useQuery({ queryKey: ['sessions'], queryFn: () => ask<Page<Session>>('GET', 'v1/me/sessions') })
  const passkeys = useQuery({ queryKey: ['passkeys'], enabled: me.may.some((m) => m.includes('passkey')), queryFn: () => ask<Page<Passkey>>('GET', 'v1/me/passkeys') })
  const end = useChange((id: string) => ask('DELETE', `v1/me/sessions/${encodeURIComponent(id)}`))
  const forget = useChange((id: string) => ask('DELETE', `v1/me/passkeys/${encodeURIComponent(id)}`))
  const add = useChange(async () => ask('POST', 'v1/me/passkeys/finish', await attestation(await ask<Record<string, unknown>>('POST', 'v1/me/passkeys/begin', {}))))
  const everywhere = useChange(() => signOut(true))
  return (
    <div style={{ maxWidth: 820 }}>
      <Head title={<Shown text={me.name} most={100} />} sub={me.email ? <Shown text={me.email} /> : undefined} />
      <Stack>
        <Card title="What you may do here" pad>
          <Facts of={me.roles.map((r) => [r, roles[r] ?? ''] as [string, string])} />
          {me.roles.length === 0 && <Text c="dimmed">You have no role yet. Who runs Lanyard can give you one.</Text>}
        </Card>
        {me.may.some((m) => m.includes('passkey')) && <Card title="Passkeys" side={<Button size="compact-sm" variant="default" leftSection={<IconFingerprint size={15} />} loading={add.isPending} onClick={() => add.mutate()}>Add one</Button>}>
          {add.isError && <Failure error={add.error} />}
          {forget.isError && <Failure error={forget.error} />}
          <Await of={passkeys} lines={2}>
            {(p) => (p.items ?? []).length === 0 ? <Empty title="No passkey">With one you sign in without a code, and nobody can do so by a false page.</Empty> : (
              <div className="rows">
                {(p.items ?? []).map((k) => (
                  <Group key={k.id} justify="space-between" wrap="nowrap">
                    <div><Text fw={560}>{plain(k.name || 'Passkey', 60)}</Text><Text size="sm" c="dimmed">made <When at={k.created} />, last used <When at={k.last_used} /></Text></div>
                    <Button size="compact-xs" variant="subtle" color="red" onClick={() => forget.mutate(k.id)}>Remove</Button>
                  </Group>
                ))}
              </div>
            )}
          </Await>
        </Card>}
        <Card title="Where you are signed in" side={<Button size="compact-sm" variant="default" onClick={() => everywhere.mutate()}>Sign out everywhere</Button>}>
          {end.isError && <Failure error={end.error} />}
          {everywhere.isError && <Failure error={everywhere.error} />}
          <Await of={sessions} lines={2}>
            {(p) => (
              <div className="rows">
                {(p.items ?? []).map((s) => (
                  <Group key={s.id} justify="space-between" wrap="nowrap">
                    <div>
                      <Text fw={560}>By {methods[s.method] ?? s.method}{s.current && <Text span c="dimmed" fw={400}> · this one</Text>}</Text>
                      <Text size="sm" c="dimmed">began <When at={s.began} />, ends <When at={s.expires} />{s.from ? `, from ${s.from}` : ''}{s.with ? `, with ${plain(browser(s.with), 60)}` : ''}</Text>
                    </div>
                    {!s.current && <Button size="compact-xs" variant="subtle" color="red" onClick={() => end.mutate(s.id)}>End it</Button>}
                  </Group>
                ))}
              </div>
            )}
          </Await>
        </Card>
      </Stack>
    </div>
  )
}
