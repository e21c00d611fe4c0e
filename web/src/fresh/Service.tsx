import { Button, Group, Select, SimpleGrid, Stack, Tabs, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { apiBase, got, PUT } from '../api/client'
import { identity, owners, status, upstream as upstreamQuery, useChange } from '../api/queries'
import { useDraft } from '../app/draft'
import { useMe } from '../app/session'
import { AddKey } from '../identity/AddKey'
import { Code } from '../parts/bits'
import { Await, Failure, unread } from '../parts/States'
import { may as says } from '../parts/words'
import { GrantForm } from '../policy/GrantForm'
import { Packs } from '../policy/Packs'
import { FirstCall } from './FirstCall'
import { Step } from './Step'

const route = getRouteApi('/new')
const empty = { name: '', kind: 'agent', owner: '', backup: '', purpose: '', environment: 'production', expires: '90d' }

/** Service makes an identity, gives it a key and a grant, and waits for it. */
export function Service() {
  const { made } = route.useSearch()
  return made ? <Made name={made} /> : <Who />
}

function Who() {
  const navigate = route.useNavigate()
  const me = useMe()
  const everybody = useQuery(owners)
  const people = (everybody.data?.items ?? []).filter((o) => o.state !== 'gone')
  const [d, set, forget] = useDraft('new.service', { ...empty, owner: me.owner ?? '' })
  const field = (k: keyof typeof d) => ({ value: d[k], onChange: (e: React.ChangeEvent<HTMLInputElement>) => set({ ...d, [k]: e.currentTarget.value }) })
  const make = useChange(() =>
    got(
      PUT('/v1/identities/{name}', {
        params: { path: { name: d.name.trim() } },
        body: { kind: d.kind as 'agent', owner: d.owner, purpose: d.purpose.trim(), environment: d.environment, expires: d.expires, ...(d.backup ? { backup: d.backup } : {}) },
      }),
    ),
  )
  const bad = d.name && !/^[a-z0-9][a-z0-9._-]*$/.test(d.name) ? 'Small letters, digits, - and . only' : undefined
  return (
    <Step n={1} title="Who is it?">
      <form
        onSubmit={(e) => {
          e.preventDefault()
          const name = d.name.trim()
          make.mutate(undefined, { onSuccess: () => (forget(), void navigate({ search: { way: 'key', made: name } })) })
        }}
      >
        <Stack>
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <TextInput label="Name" placeholder="invoice-bot" required maxLength={63} error={bad} {...field('name')} autoComplete="off" data-autofocus />
            <Select label="Kind" required data={['agent', 'service', 'bot']} value={d.kind} onChange={(v) => set({ ...d, kind: v ?? 'agent' })} allowDeselect={false} />
          </SimpleGrid>
          <TextInput label="Purpose" description="One sentence, for people who see it in a list or in an alarm" placeholder="Reads invoices that arrive by mail and files them in Drive" required maxLength={500} {...field('purpose')} />
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <Select label="Owner" description="Who answers for it" required searchable limit={200} error={unread(everybody)} data={people.map((o) => ({ value: o.id, label: o.name || o.id }))} value={d.owner || null} onChange={(v) => set({ ...d, owner: v ?? '' })} />
            <Select label="Backup" description="Takes over when the owner leaves" placeholder="the owner’s own backup" clearable searchable limit={200} data={people.filter((o) => o.id !== d.owner).map((o) => ({ value: o.id, label: o.name || o.id }))} value={d.backup || null} onChange={(v) => set({ ...d, backup: v ?? '' })} />
            <TextInput label="Environment" description="It calls upstreams of the same alone" required maxLength={63} {...field('environment')} />
            <TextInput label="Stops by itself" description="90d, or a date" required maxLength={64} {...field('expires')} />
          </SimpleGrid>
          {make.isError && <Failure error={make.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={make.isPending} disabled={!!bad}>Make it</Button>
          </Group>
        </Stack>
      </form>
    </Step>
  )
}

function Made({ name }: { name: string }) {
  const q = useQuery(identity(name))
  const s = useQuery({ ...status, retry: false }).data
  const [api, setApi] = useState<string>()
  const [added, setAdded] = useState(false)
  return (
    <Await of={q}>
      {(i) => {
        const keyed = added || (i.credentials ?? []).some((c) => !c.revoked)
        const grants = i.grants ?? []
        const upstream = grants[0]?.upstream
        return (
          <>
            <Step n={1} title="Who is it?" done>
              <Text>
                <Link className="link" to="/identities/$name" params={{ name }}>{name.slice(0, 60)}</Link> is there, and {i.state}.
              </Text>
            </Step>
            <Step n={2} title="How does it prove that?" done={keyed}>
              <AddKey name={name} onAdded={(k) => (setApi(k), setAdded(true))} />
            </Step>
            <Step n={3} title="What may it do?" done={grants.length > 0}>
              {grants.length > 0 ? (
                <Stack gap={4}>{grants.map((g) => <Text key={g.id}>{says(g)}</Text>)}</Stack>
              ) : (
                <Tabs defaultValue="pack" keepMounted={false}>
                  <Tabs.List mb="md">
                    <Tabs.Tab value="pack">By what it is for</Tabs.Tab>
                    <Tabs.Tab value="grant">By a grant of its own</Tabs.Tab>
                  </Tabs.List>
                  <Tabs.Panel value="pack"><Packs identity={name} had={grants} /></Tabs.Panel>
                  <Tabs.Panel value="grant"><GrantForm identity={name} /></Tabs.Panel>
                </Tabs>
              )}
            </Step>
            {keyed && upstream && (
              <>
                <Step n={4} title="Start it with this">
                  <Paste name={name} id={i.id} upstream={upstream} api={api} issuer={s?.url ?? apiBase.href.replace(/\/$/, '')} />
                </Step>
                <Step n={5} title="Its first call">
                  <FirstCall query={{ identity: name }} />
                </Step>
              </>
            )}
          </>
        )
      }}
    </Await>
  )
}

function Paste({ name, id, upstream, api, issuer }: { name: string; id: string; upstream: string; api?: string; issuer: string }) {
  const audience = useQuery(upstreamQuery(upstream)).data?.audience ?? '…'
  const run = `lanyard run --as ${name} --key ${name}.key.jwk --upstream ${upstream} -- python3 agent.py`
  const go = `badge, err := client.New(client.Config{
	Issuer:   "${issuer}",
	Identity: "${id}",
	KeyFile:  "${name}.key.jwk",
})
http := badge.HTTPClient("${audience}")`
  const curl = `TOKEN=$(curl -s -u '${id}:${api ?? 'lyd_…'}' ${issuer}/oauth/token \\
  -d grant_type=client_credentials -d resource=${audience} | jq -r .access_token)
curl -H "Authorization: Bearer $TOKEN" ${audience}/…`
  return (
    <Tabs defaultValue={api ? 'curl' : 'run'}>
      <Tabs.List mb="sm">
        {!api && <Tabs.Tab value="run">Any program</Tabs.Tab>}
        {!api && <Tabs.Tab value="go">Go</Tabs.Tab>}
        {api && <Tabs.Tab value="curl">curl</Tabs.Tab>}
      </Tabs.List>
      <Tabs.Panel value="run">
        <Code text={run} />
        <Text size="sm" c="dimmed" mt="xs">
          The agent finds the address to call in LANYARD_URL_{upstream.toUpperCase().replace(/\W/g, '_')}, and needs no key of its own.
        </Text>
      </Tabs.Panel>
      <Tabs.Panel value="go"><Code text={go} /></Tabs.Panel>
      <Tabs.Panel value="curl"><Code text={curl} /></Tabs.Panel>
    </Tabs>
  )
}
