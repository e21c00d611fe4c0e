import { Checkbox, Loader, Text } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { IconChevronDown, IconChevronUp } from '@tabler/icons-react'
import { createColumnHelper, rowSelectionFeature, rowSortingFeature, tableFeatures, useTable, type SortingState } from '@tanstack/react-table'
import { useVirtualizer } from '@tanstack/react-virtual'
import { Link } from '@tanstack/react-router'
import { useEffect, useMemo, useRef } from 'react'
import type { Identity } from '../api/types'
import { State } from '../parts/bits'
import { plain, Shown } from '../parts/Shown'
import { When } from '../parts/When'

const features = tableFeatures({ rowSelectionFeature, rowSortingFeature })
const helper = createColumnHelper<typeof features, Identity>()
const columns = helper.columns([
  helper.accessor('name', {
    header: 'Name',
    cell: ({ row: { original: i } }) => (
      <span style={{ minWidth: 0, display: 'block' }}>
        <Link to="/identities/$name" params={{ name: i.name }} className="link clip" style={{ fontWeight: 580, display: 'block' }}>
          <Shown text={plain(i.name, 120)} />
        </Link>
        <span className="dim clip" style={{ display: 'block', fontSize: 12.5 }}>
          {plain(i.purpose, 160)}
        </span>
      </span>
    ),
  }),
  helper.accessor('state', { header: 'State', cell: ({ row: { original: i } }) => <State of={i.state} /> }),
  helper.accessor('owner', { header: 'Owner', cell: ({ row: { original: i } }) => <span className="clip" style={{ display: 'block' }}>{plain(i.owner_name || i.owner, 60)}</span> }),
  helper.accessor('kind', { header: 'Kind', enableSorting: false, cell: (c) => c.getValue().replace('_', ' ') }),
  helper.accessor('last_used', { header: 'Last used', cell: (c) => <When at={c.getValue()} /> }),
  helper.accessor('expires', { header: 'Expires', cell: (c) => <When at={c.getValue()} /> }),
])

type Props = {
  items: Identity[]
  sort?: string
  onSort: (s: string | undefined) => void
  chosen: Record<string, true>
  onChoose?: (c: Record<string, true>) => void
  more: boolean
  loading: boolean
  onMore: () => void
}

/** Rows are as many identities as there are; only those in sight are on the page. */
export function Rows({ items, sort, onSort, chosen, onChoose, more, loading, onMore }: Props) {
  const narrow = useMediaQuery('(max-width: 48em)') ?? false
  const scroller = useRef<HTMLDivElement>(null)
  const sorting = useMemo<SortingState>(() => (sort ? [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }] : []), [sort])
  const table = useTable({
    features,
    columns,
    data: items,
    getRowId: (i) => i.id,
    manualSorting: true,
    state: { sorting, rowSelection: chosen },
    onSortingChange: (u) => {
      const next = typeof u === 'function' ? u(sorting) : u
      onSort(next[0] ? `${next[0].desc ? '-' : ''}${next[0].id}` : undefined)
    },
    onRowSelectionChange: (u) => onChoose?.(typeof u === 'function' ? u(chosen) : u),
  })
  const rows = table.getRowModel().rows
  const height = narrow ? 68 : 52
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => height, overscan: 12 })
  useEffect(() => virtual.measure(), [height, virtual])
  const seen = virtual.getVirtualItems()
  const last = seen[seen.length - 1]?.index ?? 0
  useEffect(() => {
    if (more && !loading && last > rows.length - 30) onMore()
  }, [more, loading, last, rows.length, onMore])
  const template = `${onChoose ? '28px ' : ''}${narrow ? 'minmax(0,1fr) 100px' : 'minmax(0,3fr) 110px minmax(0,1fr) 92px 120px 120px'}`
  const shown = new Set(narrow ? ['name', 'state'] : ['name', 'state', 'owner', 'kind', 'last_used', 'expires'])
  return (
    <div className="grid">
      <div className="window" ref={scroller} tabIndex={0} role="grid" aria-label="Identities" aria-rowcount={more ? -1 : rows.length + 1} aria-multiselectable={!!onChoose}>
        {table.getHeaderGroups().map((g) => (
          <div role="row" className="head" key={g.id} style={{ gridTemplateColumns: template }}>
            {onChoose && (
              <div role="columnheader">
                <Checkbox
                  size="xs"
                  aria-label="Choose all that are loaded"
                  checked={table.getIsAllRowsSelected()}
                  indeterminate={table.getIsSomeRowsSelected()}
                  onChange={table.getToggleAllRowsSelectedHandler()}
                />
              </div>
            )}
            {g.headers
              .filter((h) => shown.has(h.column.id))
              .map((h) => {
                const sorted = h.column.getIsSorted()
                return (
                  <div role="columnheader" key={h.id} aria-sort={sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : 'none'}>
                    {h.column.getCanSort() ? (
                      <button type="button" className="sort" onClick={h.column.getToggleSortingHandler()}>
                        <table.FlexRender header={h} />
                        {sorted === 'asc' && <IconChevronUp size={13} aria-hidden />}
                        {sorted === 'desc' && <IconChevronDown size={13} aria-hidden />}
                      </button>
                    ) : (
                      <table.FlexRender header={h} />
                    )}
                  </div>
                )
              })}
          </div>
        ))}
        <div style={{ height: virtual.getTotalSize(), position: 'relative' }} role="rowgroup">
          {seen.map((v) => {
            const row = rows[v.index]!
            return (
              <div
                role="row"
                className="line"
                key={row.id}
                aria-rowindex={v.index + 2}
                aria-selected={onChoose ? row.getIsSelected() : undefined}
                style={{ gridTemplateColumns: template, height, transform: `translateY(${v.start}px)` }}
              >
                {onChoose && (
                  <div role="gridcell">
                    <Checkbox size="xs" aria-label={`Choose ${plain(row.original.name, 60)}`} checked={row.getIsSelected()} onChange={row.getToggleSelectedHandler()} />
                  </div>
                )}
                {row
                  .getAllCells()
                  .filter((c) => shown.has(c.column.id))
                  .map((c) => (
                    <div role="gridcell" key={c.id} style={{ minWidth: 0 }}>
                      <table.FlexRender cell={c} />
                    </div>
                  ))}
              </div>
            )
          })}
        </div>
        {loading && (
          <Text ta="center" p="sm" role="presentation">
            <Loader size="xs" aria-label="Loading more" />
          </Text>
        )}
      </div>
    </div>
  )
}
