import { Button, FileButton, Group, Stack, Text, Textarea } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { got, POST, type Trouble } from '../api/client'
import { useChange } from '../api/queries'
import { useDraft } from '../app/draft'
import { Shown } from '../parts/Shown'
import { Empty, Failure } from '../parts/States'
import { count } from '../parts/words'
import { FirstCall } from './FirstCall'
import { Step } from './Step'

const example = `identities:
  reader:
    kind: agent
    owner: maya
    purpose: Answers questions about my mail
    expires: 90d
    grants:
      read-mail: {upstream: mail, actions: [read]}
`

/** Import takes manifests: first what they would change, then the change. */
export function Import() {
  const [draft, set, forget] = useDraft('new.import', { name: 'manifest.yaml', text: '' })
  const body = (dry: boolean) => ({ body: { files: [{ name: draft.name, content: draft.text }], dry_run: dry } })
  const plan = useMutation({ mutationFn: () => got(POST('/v1/apply', body(true))) })
  const apply = useChange(() => got(POST('/v1/apply', body(false))))
  const steps = plan.data?.steps ?? []
  const names = steps.filter((s) => s.noun === 'identity' && s.op === 'create').map((s) => s.name)
  return (
    <>
      <Step n={1} title="What there is to be" done={!!plan.data}>
        <Stack>
          <Textarea
            label="Manifest"
            description="YAML, as lanyard apply takes it"
            placeholder={example}
            value={draft.text}
            onChange={(e) => (set({ ...draft, text: e.currentTarget.value }), plan.reset(), apply.reset())}
            autosize
            minRows={9}
            maxRows={24}
            spellCheck={false}
            styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
          />
          <Group>
            <FileButton accept=".yaml,.yml" onChange={(f) => f && void f.text().then((text) => (set({ name: f.name, text }), plan.reset(), apply.reset()))}>
              {(p) => <Button variant="default" {...p}>Take a file</Button>}
            </FileButton>
            <Button variant="subtle" onClick={() => set({ ...draft, text: example })}>An example</Button>
            <Button ml="auto" onClick={() => plan.mutate()} loading={plan.isPending} disabled={!draft.text.trim()}>Show the plan</Button>
          </Group>
          {plan.isError && <Failure error={plan.error as Trouble} />}
        </Stack>
      </Step>
      {plan.data && (
        <Step n={2} title="The plan" done={!!apply.data?.applied}>
          {steps.length === 0 ? (
            <Empty title="Nothing would change">All of this is there already.</Empty>
          ) : (
            <Stack>
              <Text>
                {count(plan.data.create, 'thing')} made, {plan.data.change} changed, {plan.data.remove} removed.
              </Text>
              <div className="card rows">
                {steps.map((s, n) => (
                  <div key={n}>
                    <b className={s.op === 'remove' ? 'bad' : s.op === 'create' ? 'good' : 'wait'}>{s.op}</b> {s.noun} <b><Shown text={s.name} most={120} /></b>
                    {s.note && <Text size="sm" className="wait"><Shown text={s.note} /></Text>}
                    {(s.fields ?? []).slice(0, 12).map((f) => (
                      <Text size="sm" c="dimmed" key={f.field} className="clip">
                        {f.field}: {f.from && <><s><Shown text={f.from} most={120} /></s> </>}<Shown text={f.to ?? ''} most={160} />
                      </Text>
                    ))}
                  </div>
                ))}
              </div>
              {apply.isError && <Failure error={apply.error} />}
              {apply.data?.applied ? (
                <Text fw={600} className="good" role="status">Done.</Text>
              ) : (
                <Group justify="flex-end">
                  <Button loading={apply.isPending} onClick={() => apply.mutate(undefined, { onSuccess: forget })}>Do it</Button>
                </Group>
              )}
            </Stack>
          )}
        </Step>
      )}
      {apply.data?.applied && names[0] && (
        <Step n={3} title="Its first call">
          <Text size="sm" mb="sm">
            <Link className="link" to="/identities/$name" params={{ name: names[0] }} search={{ tab: 'credentials' } as never}>Give {names[0]} a credential</Link>, if the manifest did not, and start it.
          </Text>
          <FirstCall query={{ identity: names[0] }} />
        </Step>
      )}
    </>
  )
}
