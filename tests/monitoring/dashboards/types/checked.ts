// What the generated files are checked as. JSON holds enums as their values, and the Prometheus query is not part of
// @grafana/schema: its fields are those of Grafana's data source.
import type { AnnotationQuery, Dashboard, DataQuery, Panel } from "@grafana/schema";
import type { FieldConfig as HeatmapField, Options as HeatmapOptions } from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { FieldConfig as StatusHistoryField, Options as StatusHistoryOptions } from "@grafana/schema/dist/esm/raw/composable/statushistory/panelcfg/x/StatusHistoryPanelCfg_types.gen";
import type { FieldConfig as TableField, Options as TableOptions } from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type { FieldConfig as TimeSeriesField, Options as TimeSeriesOptions } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** The type of a value as JSON holds it. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}`
      ? N
      : T
    : T extends readonly (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

interface PrometheusQuery extends DataQuery {
  editorMode?: "code" | "builder";
  expr: string;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

interface Typed<Kind extends string, Options, Field> extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> {
  type: Kind;
  options: Options;
  targets: PrometheusQuery[];
  fieldConfig: Omit<NonNullable<Panel["fieldConfig"]>, "defaults"> & {
    defaults: Omit<NonNullable<Panel["fieldConfig"]>["defaults"], "custom"> & { custom: Partial<Field> };
  };
}

type OurPanel =
  | Typed<"timeseries", TimeSeriesOptions, TimeSeriesField>
  | Typed<"stat", StatOptions, object>
  | Typed<"heatmap", HeatmapOptions, HeatmapField>
  | Typed<"status-history", StatusHistoryOptions, StatusHistoryField>
  | Typed<"table", TableOptions, TableField>;

interface OurDashboard extends Omit<Dashboard, "annotations" | "panels"> {
  annotations: { list: AnnotationQuery<PrometheusQuery>[] };
  panels: OurPanel[];
}

export type CheckedDashboard = Json<OurDashboard>;
