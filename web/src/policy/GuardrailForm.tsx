import { Button, Group, Stack, Text, Textarea, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { got, POST, PUT, Trouble } from '../api/client'
import { useChange } from '../api/queries'
import type { Guardrail } from '../api/types'
import { useEdit } from '../app/draft'
import { Shown } from '../parts/Shown'
import { Empty, Failure } from '../parts/States'
import { forbids } from './forbids'
import { Moved } from './Moved'
import { WhatIf } from './WhatIf'

const examples: [string, string][] = [
  ['No deleting', 'forbid (principal, action in Lanyard::Action::"delete", resource);'],
  ['Ask before writing', '@approve("owner")\nforbid (principal, action in Lanyard::Action::"write", resource in Lanyard::Upstream::"mail");'],
  ['Nothing that administers', 'forbid (principal, action in Lanyard::Action::"admin", resource);'],
]

/** What the server says of a guardrail that is not saved: nothing is changed by asking. */
async function check(id: string, cedar: string, description: string) {
  try {
    await got(POST('/v1/apply', { body: { dry_run: true, files: [{ name: 'guardrail.json', content: JSON.stringify({ guardrails: { [id || 'unnamed']: { cedar, ...(description ? { description } : {}) } } }) }] } }))
    return ''
  } catch (e) {
    if (e instanceof Trouble && e.status === 422) return (e.mistakes[0]?.text ?? e.message).replace(/^guardrail \S+ /, '')
    if (e instanceof Trouble && e.status === 403) return '' // it is asked again when it is saved
    throw e
  }
}

const said = (g: Pick<Guardrail, 'description' | 'cedar'> | null) => (g ? `${g.description ? `${g.description}\n\n` : ''}${g.cedar}` : '')

/** GuardrailForm changes the guardrail of this id, or, without one, makes one. */
export function GuardrailForm({ id, g, fixed = false, onSaved }: { id?: string; fixed?: boolean; g?: Guardrail; onSaved: () => void }) {
  const e = useEdit(`guardrail.${id ?? 'new'}`, g, (o) => ({ id: o?.id ?? id ?? '', description: o?.description ?? '', cedar: o?.cedar ?? '' }))
  const { d, set, forget } = e
  const [cedar] = useDebouncedValue(d.cedar, 300)
  const valid = useQuery({ queryKey: ['check', d.id, cedar], enabled: !!cedar.trim(), staleTime: Infinity, retry: false, queryFn: () => check(d.id, cedar, d.description) })
  const put = useChange(() => got(PUT('/v1/guardrails/{name}', { params: { path: { name: d.id.trim() } }, body: { cedar: d.cedar, ...(d.description ? { description: d.description } : {}), was: e.was } })))
  const good = valid.data === '' && cedar === d.cedar
  const plain = forbids(cedar)
  if (id && !g && !e.moved) return <Empty title="There is no such guardrail">It was removed, or its name was mistyped.</Empty>
  return (
    <form onSubmit={(ev) => (ev.preventDefault(), put.mutate(undefined, { onSuccess: () => (forget(), onSaved()) }))}>
      <Stack>
        <Group grow align="flex-start">
          <TextInput label="Name" required maxLength={63} value={d.id} disabled={!!id} onChange={(ev) => set({ ...d, id: ev.currentTarget.value })} placeholder="no-mail-rules" data-autofocus />
        </Group>
        <TextInput label="In one sentence" description="Whoever is refused by it reads this" maxLength={500} value={d.description} onChange={(ev) => set({ ...d, description: ev.currentTarget.value })} placeholder="No agent changes forwarding, filters or delegates of a mailbox." />
        <Textarea
          label="Cedar"
          required
          autosize
          minRows={6}
          spellCheck={false}
          value={d.cedar}
          onChange={(ev) => set({ ...d, cedar: ev.currentTarget.value })}
          error={valid.data ? <Shown text={valid.data} /> : undefined}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
        />
        {!d.cedar && (
          <Group gap="xs">
            <Text size="sm" c="dimmed">Begin with</Text>
            {examples.map(([label, text]) => <Button key={label} size="compact-sm" variant="default" onClick={() => set({ ...d, cedar: text })}>{label}</Button>)}
          </Group>
        )}
        <Text size="sm" role="status" className={good ? 'good' : 'dim'}>
          {valid.isError ? 'It cannot be checked at this moment.' : !cedar.trim() ? '\u00a0' : valid.isFetching ? 'Checking…' : good ? `It is valid.${plain ? ` ${plain}` : ''}` : valid.data ? 'It is not valid yet.' : '\u00a0'}
        </Text>
        {good && <WhatIf body={{ guardrails: [{ id: d.id.trim() || 'unnamed', cedar }] }} />}
        <Moved edit={e} noun="guardrail" now={said(e.now)} mine={said(d)} />
        {put.isError && !e.moved && <Failure error={put.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={put.isPending} disabled={fixed || !d.id.trim() || !d.cedar.trim() || !!valid.data || e.moved}>Save</Button>
        </Group>
      </Stack>
    </form>
  )
}
