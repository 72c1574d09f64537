<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis minScale="100000000" version="3.40.6-Bratislava" simplifyMaxScale="1" autoRefreshTime="0" symbologyReferenceScale="-1" hasScaleBasedVisibilityFlag="0" simplifyDrawingHints="1" maxScale="0" simplifyAlgorithm="0" autoRefreshMode="Disabled" simplifyDrawingTol="1" simplifyLocal="1" styleCategories="Symbology|Fields|Forms|MapTips|AttributeTable|Rendering">
  <renderer-v2 attr="review" symbollevels="0" type="categorizedSymbol" enableorderby="0" referencescale="-1" forceraster="0">
    <categories>
      <category symbol="0" type="NULL" label="nothing said yet" value="NULL" render="true"/>
      <category symbol="1" type="long" label="change" value="1" render="true"/>
      <category symbol="2" type="long" label="no change" value="0" render="true"/>
      <category symbol="3" type="long" label="cannot be told" value="255" render="true"/>
    </categories>
    <symbols>
      <symbol clip_to_extent="1" is_animated="0" frame_rate="10" type="fill" alpha="1" force_rhr="0" name="0">
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="30,30,30,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.6" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="0,255,255,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.3" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
      </symbol>
      <symbol clip_to_extent="1" is_animated="0" frame_rate="10" type="fill" alpha="1" force_rhr="0" name="1">
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="30,30,30,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.6" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="255,255,255,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.45" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
      </symbol>
      <symbol clip_to_extent="1" is_animated="0" frame_rate="10" type="fill" alpha="1" force_rhr="0" name="2">
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="30,30,30,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.6" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="205,205,205,255" name="line_color"/>
            <Option type="QString" value="dash" name="line_style"/>
            <Option type="QString" value="0.3" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
      </symbol>
      <symbol clip_to_extent="1" is_animated="0" frame_rate="10" type="fill" alpha="1" force_rhr="0" name="3">
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="30,30,30,255" name="line_color"/>
            <Option type="QString" value="solid" name="line_style"/>
            <Option type="QString" value="0.6" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
        <layer locked="0" enabled="1" pass="0" class="SimpleLine">
          <Option type="Map">
            <Option type="QString" value="0" name="draw_inside_polygon"/>
            <Option type="QString" value="miter" name="joinstyle"/>
            <Option type="QString" value="255,190,235,255" name="line_color"/>
            <Option type="QString" value="dot" name="line_style"/>
            <Option type="QString" value="0.4" name="line_width"/>
            <Option type="QString" value="MM" name="line_width_unit"/>
            <Option type="QString" value="0" name="ring_filter"/>
          </Option>
        </layer>
      </symbol>
    </symbols>
  </renderer-v2>
  <blendMode>0</blendMode>
  <featureBlendMode>0</featureBlendMode>
  <layerOpacity>1</layerOpacity>
  <fieldConfiguration>
    <field configurationFlags="NoFlag" name="fid">
      <editWidget type="Hidden">
        <config>
          <Option/>
        </config>
      </editWidget>
    </field>
    <field configurationFlags="NoFlag" name="review">
      <editWidget type="ValueMap">
        <config>
          <Option type="Map">
            <Option type="List" name="map">
              <Option type="Map">
                <Option type="QString" value="1" name="change"/>
              </Option>
              <Option type="Map">
                <Option type="QString" value="0" name="no change"/>
              </Option>
              <Option type="Map">
                <Option type="QString" value="255" name="cannot be told"/>
              </Option>
              <Option type="Map">
                <Option type="QString" value="{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}" name="nothing said yet"/>
              </Option>
            </Option>
          </Option>
        </config>
      </editWidget>
    </field>
    <field configurationFlags="NoFlag" name="note">
      <editWidget type="TextEdit">
        <config>
          <Option type="Map">
            <Option type="bool" value="false" name="IsMultiline"/>
            <Option type="bool" value="false" name="UseHtml"/>
          </Option>
        </config>
      </editWidget>
    </field>
  </fieldConfiguration>
  <attributetableconfig sortExpression="&quot;area_ha&quot;" sortOrder="1" actionWidgetStyle="dropDown">
    <columns>
      <column width="-1" type="field" name="fid" hidden="1"/>
      <column width="-1" type="field" name="area_ha" hidden="0"/>
      <column width="-1" type="field" name="mean_probability" hidden="0"/>
      <column width="-1" type="field" name="review" hidden="0"/>
      <column width="-1" type="field" name="note" hidden="0"/>
      <column width="-1" type="field" name="ndvi_before" hidden="0"/>
      <column width="-1" type="field" name="ndvi_after" hidden="0"/>
      <column width="-1" type="field" name="ndbi_before" hidden="0"/>
      <column width="-1" type="field" name="ndbi_after" hidden="0"/>
      <column width="-1" type="field" name="mndwi_before" hidden="0"/>
      <column width="-1" type="field" name="mndwi_after" hidden="0"/>
      <column width="-1" type="field" name="observed_around" hidden="0"/>
      <column width="-1" type="actions" hidden="1"/>
    </columns>
  </attributetableconfig>
  <editorlayout>generatedlayout</editorlayout>
  <editable>
    <field editable="0" name="area_ha"/>
    <field editable="0" name="fid"/>
    <field editable="0" name="mean_probability"/>
    <field editable="0" name="mndwi_after"/>
    <field editable="0" name="mndwi_before"/>
    <field editable="0" name="ndbi_after"/>
    <field editable="0" name="ndbi_before"/>
    <field editable="0" name="ndvi_after"/>
    <field editable="0" name="ndvi_before"/>
    <field editable="0" name="observed_around"/>
  </editable>
  <previewExpression>coalesce(format_number("area_ha", 2) || ' ha', 'drawn')</previewExpression>
  <mapTip enabled="1">[% coalesce(format_number("area_ha", 2) || ' ha, mean probability ' || format_number("mean_probability", 2), 'drawn') %][% coalesce('&lt;br&gt;NDVI ' || format_number("ndvi_before", 2) || ' → ' || format_number("ndvi_after", 2), '') %][% coalesce('&lt;br&gt;NDBI ' || format_number("ndbi_before", 2) || ' → ' || format_number("ndbi_after", 2), '') %][% coalesce('&lt;br&gt;MNDWI ' || format_number("mndwi_before", 2) || ' → ' || format_number("mndwi_after", 2), '') %][% if("observed_around" &lt; 0.995, '&lt;br&gt;' || format_number(100 * "observed_around", 0) || ' % of the map around it was observed', '') %][% CASE WHEN "review" = 1 THEN '&lt;br&gt;&lt;b&gt;change&lt;/b&gt;' WHEN "review" = 0 THEN '&lt;br&gt;&lt;b&gt;no change&lt;/b&gt;' WHEN "review" = 255 THEN '&lt;br&gt;&lt;b&gt;cannot be told&lt;/b&gt;' ELSE '' END %][% if(trim("note") != '', '&lt;br&gt;' || replace("note", '&lt;', '&amp;lt;'), '') %]</mapTip>
  <layerGeometryType>2</layerGeometryType>
</qgis>
<!-- Written by S2Change -->
